//! Wake-up by NOTIFY: the channel of a table, and the trigger that an administrator may add.

use outflow_sdk::Result;

use super::describe::{Described, Relation};
use super::failure::boolean;
use super::session::Session;
use crate::table::quoted;

/// The longest name that the server takes, in bytes.
const LONGEST: usize = 63;

/// The channel of a table: `outflow:public.outbox`. A name that is too long ends in a hash of it.
pub(super) fn channel(relation: &Relation) -> String {
    let name = format!("outflow:{}", relation.qualified());
    if name.len() <= LONGEST {
        return name;
    }
    // FNV-1a: stable across versions of ours, unlike the hash of the standard library.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut end = LONGEST - 17;
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}~{hash:016x}", name.get(..end).unwrap_or_default())
}

/// Listens to the channels of these tables.
pub(super) async fn listen(session: &Session, tables: impl Iterator<Item = &Described>) -> Result<()> {
    let statements: Vec<String> = tables.map(|t| format!("LISTEN {}", quoted(&t.channel))).collect();
    session.execute(&statements.join("; ")).await.map(drop)
}

/// Whether a trigger on the table notifies its channel.
pub(super) async fn is_there(session: &Session, table: &Described) -> Result<bool> {
    let channel = table.channel.replace('\'', "''");
    let rows = session
        .query(&format!(
            "SELECT EXISTS (SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid \
             WHERE t.tgrelid = {} AND t.tgenabled <> 'D' AND (strpos(p.prosrc, '{channel}') > 0 \
             OR position(convert_to('{channel}', getdatabaseencoding()) IN t.tgargs) > 0))",
            table.oid
        ))
        .await?;
    rows.first().map_or(Ok(false), |row| boolean(row, 0))
}

/// The statements that add the trigger.
pub(super) fn statements(table: &Described) -> Vec<String> {
    vec![
        "CREATE OR REPLACE FUNCTION public.outflow_notify() RETURNS trigger LANGUAGE plpgsql AS".into(),
        "  $$ BEGIN PERFORM pg_notify(TG_ARGV[0], ''); RETURN NULL; END $$;".into(),
        format!("CREATE TRIGGER outflow_notify AFTER INSERT ON {} FOR EACH STATEMENT", table.table.sql),
        format!("  EXECUTE FUNCTION public.outflow_notify('{}');", table.channel.replace('\'', "''")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_fit_and_differ() {
        let of = |name: &str| channel(&Relation { oid: 1, schema: "public".into(), name: name.into() });
        assert_eq!(of("outbox"), "outflow:public.outbox");
        let (a, b) = (of(&"ä".repeat(31)), of(&("ä".repeat(30) + "b")));
        assert!(a.len() <= LONGEST && b.len() <= LONGEST && a != b, "{a} {b}");
        assert_eq!(a, of(&"ä".repeat(31)));
    }
}
