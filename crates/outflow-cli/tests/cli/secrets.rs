//! Invariant 10: no credential is in anything that is printed, whatever goes wrong.

use crate::support::{Folder, Running, closed_port};

const CANARY: &str = "c4naryS3cret";

/// All that prints anything about a pipeline file, for people and for programs, with every log line there is.
#[track_caller]
fn nothing_told(text: &str, flags: &[&str]) {
    let folder = Folder::new();
    folder.write("shop.yaml", &text.replace("CANARY", CANARY).replace("PORT", &closed_port().to_string()));
    folder.write("secret", CANARY);
    let show = ["position", "show", "shop.yaml"];
    for verb in [&["validate", "shop.yaml"][..], &["check", "shop.yaml"], &["run", "shop.yaml"], &show] {
        for form in [&[][..], &["--json"], &["--log-format=json"]] {
            let mut command = folder.command(&[verb, flags, form].concat());
            command.env("OUTFLOW_LOG", "trace").env("SHOP_PASSWORD", CANARY);
            let ended = Running::of(command).wait();
            let code = ended.status.code();
            assert!(matches!(code, Some(0 | 2 | 3)), "{verb:?} {form:?}: {ended:?}");
            for said in [&ended.out, &ended.err] {
                assert!(!said.contains(CANARY), "{verb:?} {form:?} with\n{text}\nsays\n{said}");
            }
        }
    }
    // Nor is it in what is left behind.
    let state = folder.path(".outflow/shop");
    for file in std::fs::read_dir(state).into_iter().flatten() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        assert!(!text.contains(CANARY), "{text}");
    }
}

/// A pipeline with this in its source.
fn source(lines: &str) -> String {
    format!(
        "name: shop\nstartup_timeout: 1ms\nsource:\n  type: polling\n  tables: [outbox]\n{lines}\nsink:\n  type: stdout\n"
    )
}

#[test]
fn in_a_url() {
    nothing_told(&source("  url: postgres://outflow:CANARY@127.0.0.1:PORT/shop"), &[]);
    nothing_told(&source("  url: postgres://outflow@127.0.0.1:PORT/shop?password=CANARY"), &[]);
    nothing_told(&source("  url: postgres://outflow@127.0.0.1:PORT/shop?sslpassword=CANARY"), &[]);
}

#[test]
fn in_a_url_that_cannot_be_read() {
    for url in [
        "postgres:outflow:CANARY@host/shop",
        "outflow:CANARY@host/shop",
        "postgres://outflow:CANARY@host:x/shop",
    ] {
        nothing_told(&source(&format!("  url: {url}")), &[]);
    }
}

const URL: &str = "  url: postgres://outflow@127.0.0.1:PORT/shop\n";

#[test]
fn in_a_password() {
    nothing_told(&source(&format!("{URL}  password: CANARY")), &[]);
}

#[test]
fn in_the_environment() {
    nothing_told(&source(&format!("{URL}  password: ${{SHOP_PASSWORD}}")), &[]);
    nothing_told(&source("  url: postgres://outflow:${SHOP_PASSWORD}@127.0.0.1:PORT/shop"), &[]);
    // Where something else should stand.
    nothing_told(&source(&format!("{URL}  delivered: ${{SHOP_PASSWORD}}")), &[]);
    nothing_told(&source(&format!("{URL}  retention: ${{SHOP_PASSWORD}}")), &[]);
}

#[test]
fn in_a_file() {
    nothing_told(&source(&format!("{URL}  password: ${{file:secret}}")), &[]);
    nothing_told(&source(&format!("{URL}  mode: ${{file:secret}}")), &[]);
}

#[test]
fn in_a_flag() {
    let text = source(URL);
    for key in ["password", "pasword", "url", "retention"] {
        nothing_told(&text, &["--set", &format!("shop.source.{key}={CANARY}")]);
    }
}

#[test]
fn beside_mistakes() {
    for lines in [
        "  password: CANARY\n  tabels: [x]",
        "  password: CANARY\n  password: CANARY",
        "  password: [CANARY]",
        "  password: {CANARY: x}",
        "  pasword: CANARY",
        "  password: CANARY: x",
        "  password: \"CANARY",
        "\tpassword: CANARY",
    ] {
        nothing_told(&source(&format!("{URL}{lines}")), &[]);
    }
}
