//! `${…}` in scalars, after the YAML has been read.

use std::ops::Range;
use std::path::Path;

use crate::environment::Environment;
use crate::redact::Secrets;

/// How deep defaults may hold further interpolations.
const MAX_NESTING: u8 = 8;

/// What a scalar became.
#[derive(PartialEq, Eq)]
pub(crate) struct Interpolated {
    pub(crate) text: String,
    /// False when it held nothing to replace but escapes.
    pub(crate) outside: bool,
}

/// Why a scalar could not be completed. `range` is in bytes of the scalar's text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    pub(crate) code: &'static str,
    pub(crate) range: Range<usize>,
    pub(crate) message: String,
    pub(crate) label: String,
}

/// Replaces `${VAR}`, `${VAR:-default}`, `${VAR:?message}` and `${file:path}`; `$${` stands for `${`. A dollar without
/// a brace is only a dollar. What comes from outside is taken as it is and kept as a secret.
///
/// # Errors
/// All that cannot be replaced.
pub(crate) fn interpolate(
    text: &str,
    folder: &Path,
    environment: &dyn Environment,
    secrets: &mut Secrets,
) -> Result<Interpolated, Vec<Problem>> {
    let mut run = Run { folder, environment, secrets, problems: Vec::new(), outside: false };
    let text = run.expand(text, 0, 0);
    if run.problems.is_empty() { Ok(Interpolated { text, outside: run.outside }) } else { Err(run.problems) }
}

struct Run<'a> {
    folder: &'a Path,
    environment: &'a dyn Environment,
    secrets: &'a mut Secrets,
    problems: Vec<Problem>,
    outside: bool,
}

impl Run<'_> {
    fn expand(&mut self, text: &str, base: usize, nesting: u8) -> String {
        let mut out = String::with_capacity(text.len());
        let mut at = 0;
        while let Some(found) = text.get(at..).and_then(|rest| rest.find("${")) {
            let open = at + found;
            let before = text.get(at..open).unwrap_or_default();
            out.push_str(before);
            if before.ends_with('$') {
                // `$${` is a written `${`.
                out.push('{');
                at = open + 2;
                continue;
            }
            let body = text.get(open + 2..).unwrap_or_default();
            let Some(length) = closing(body) else {
                self.problem(
                    base + open..base + text.len(),
                    "\"${\" has no closing brace",
                    "for the text itself write $${",
                );
                return out;
            };
            let range = base + open..base + open + 2 + length + 1;
            let inner = body.get(..length).unwrap_or_default();
            if let Some(value) = self.value(inner, range, nesting) {
                out.push_str(&value);
            }
            at = open + 2 + length + 1;
        }
        out.push_str(text.get(at..).unwrap_or_default());
        out
    }

    fn value(&mut self, inner: &str, range: Range<usize>, nesting: u8) -> Option<String> {
        self.outside = true;
        if let Some(path) = inner.strip_prefix("file:") {
            return self.file(path, range);
        }
        let end = inner.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(inner.len());
        let (name, rest) = inner.split_at(end);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            let label =
                "write ${NAME}, ${NAME:-default}, ${NAME:?message} or ${file:path}; for the text itself $${";
            self.problem(range, "\"${…}\" holds no name of a variable", label);
            return None;
        }
        let known = rest.is_empty() || rest.starts_with(":-") || rest.starts_with(":?");
        if !known {
            let label = if rest.starts_with(['-', '?']) {
                format!("did you mean \"${{{name}:{}…}}\"?", rest.get(..1).unwrap_or_default())
            } else {
                "write ${NAME}, ${NAME:-default} or ${NAME:?message}; for the text itself $${".to_owned()
            };
            self.problem(range, format!("\"${{{name}…}}\" cannot be read"), label);
            return None;
        }
        let set = match self.environment.variable(name) {
            Ok(value) => value,
            Err(_) => {
                self.problem(range, format!("{name} is no Unicode text"), "a configuration holds text only");
                return None;
            }
        };
        // As in a shell: with a colon, an empty variable counts as unset.
        let filled = set.as_deref().is_some_and(|v| !v.is_empty());
        if let Some(default) = rest.strip_prefix(":-")
            && !filled
        {
            if nesting >= MAX_NESTING {
                self.problem(range, "defaults within defaults are nested too deep", "use fewer");
                return None;
            }
            let value = self.expand(default, range.start + 2 + name.len() + 2, nesting + 1);
            return Some(value);
        }
        if let Some(message) = rest.strip_prefix(":?")
            && !filled
        {
            let message = if message.is_empty() { format!("{name} is not set") } else { message.to_owned() };
            self.unset(range, message, "set it in the environment");
            return None;
        }
        match set {
            Some(value) => {
                self.secrets.add_outside(&value);
                Some(value)
            }
            None => {
                let label = format!("set it, or give a default: ${{{name}:-…}}");
                self.unset(range, format!("the environment variable {name} is not set"), label);
                None
            }
        }
    }

    fn file(&mut self, path: &str, range: Range<usize>) -> Option<String> {
        if path.is_empty() {
            self.problem(range, "\"${file:}\" names no file", "write ${file:path}");
            return None;
        }
        let why = match self.environment.file(&self.folder.join(path)).map(String::from_utf8) {
            Ok(Ok(mut text)) => {
                // Editors and `echo` end a file with a line break that is no part of the secret.
                if text.ends_with('\n') {
                    text.pop();
                    if text.ends_with('\r') {
                        text.pop();
                    }
                }
                self.secrets.add(&text);
                return Some(text);
            }
            Ok(Err(_)) => "it is no UTF-8 text".to_owned(),
            Err(error) => error.to_string(),
        };
        let label = "a relative path starts at the folder of this file";
        self.problems.push(Problem {
            code: "config.unreadable_file",
            range,
            message: format!("cannot read {path:?}: {why}"),
            label: label.to_owned(),
        });
        None
    }

    fn unset(&mut self, range: Range<usize>, message: String, label: impl Into<String>) {
        self.problems.push(Problem { code: "config.unset_variable", range, message, label: label.into() });
    }

    fn problem(&mut self, range: Range<usize>, message: impl Into<String>, label: impl Into<String>) {
        let (message, label) = (message.into(), label.into());
        self.problems.push(Problem { code: "config.interpolation", range, message, label });
    }
}

/// The length of the text before the brace that closes an interpolation. Braces within it pair up, so that a default
/// may be a template.
fn closing(body: &str) -> Option<usize> {
    let mut depth = 0u32;
    for (i, c) in body.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => return Some(i),
            '}' => depth -= 1,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    struct Fixture;

    impl Environment for Fixture {
        fn variable(&self, name: &str) -> Result<Option<String>, std::ffi::OsString> {
            Ok(match name {
                "HOST" => Some("db".into()),
                "EMPTY" => Some(String::new()),
                "YAML" => Some("a: ${HOST}\nb: [1]".into()),
                _ => None,
            })
        }

        fn file(&self, path: &Path) -> io::Result<Vec<u8>> {
            match path.to_str() {
                Some("/conf/pw") => Ok(b"s3cret\n\n".to_vec()),
                Some("/run/crlf") => Ok(b"x\r\n".to_vec()),
                Some("/run/bin") => Ok(vec![0xff]),
                _ => Err(io::ErrorKind::NotFound.into()),
            }
        }
    }

    fn run(text: &str) -> Result<String, Vec<Problem>> {
        interpolate(text, Path::new("/conf"), &Fixture, &mut Secrets::default()).map(|i| i.text)
    }

    #[test]
    fn replaces_what_is_in_braces_only() {
        for (text, value) in [
            ("plain $HOST $ {x} $$", "plain $HOST $ {x} $$"),
            ("${HOST}:${PORT:-5432}", "db:5432"),
            ("${EMPTY}", ""),
            ("${EMPTY:-x}", "x"),
            ("${HOST:?needed}", "db"),
            ("${NO:-}", ""),
            ("${NO:-shop.{schema}.{table}}", "shop.{schema}.{table}"),
            ("${NO:-${ALSO:-${HOST}}}", "db"),
            ("$${HOST} and $${", "${HOST} and ${"),
            ("${file:pw}", "s3cret\n"),
            ("${file:/run/crlf}", "x"),
            ("${YAML}", "a: ${HOST}\nb: [1]"),
            ("ä${HOST}ö", "ädbö"),
        ] {
            assert_eq!(run(text).unwrap(), value, "{text}");
        }
    }

    #[test]
    fn says_where_and_why() {
        for (text, range, message) in [
            ("a ${NO} b", 2..7, "the environment variable NO is not set"),
            ("${NO:?set the host}", 0..19, "set the host"),
            ("${EMPTY:?}", 0..10, "EMPTY is not set"),
            ("x${HOST", 1..7, "\"${\" has no closing brace"),
            ("${}", 0..3, "\"${…}\" holds no name of a variable"),
            ("${a-b}", 0..6, "\"${a…}\" cannot be read"),
            ("${NO:-a${OTHER}}", 7..15, "the environment variable OTHER is not set"),
            ("${file:none}", 0..12, "cannot read \"none\": entity not found"),
            ("${file:/run/bin}", 0..16, "cannot read \"/run/bin\": it is no UTF-8 text"),
        ] {
            let problems = run(text).unwrap_err();
            assert_eq!((problems[0].range.clone(), problems[0].message.as_str()), (range, message), "{text}");
        }
        assert_eq!(run("${A} ${B}").unwrap_err().len(), 2);
    }

    #[test]
    fn keeps_what_came_from_outside_as_a_secret() {
        let mut secrets = Secrets::default();
        interpolate("u:${file:pw}@${HOST:-x}", Path::new("/conf"), &Fixture, &mut secrets).ok().unwrap();
        assert_eq!(secrets.scrub("bad \"s3cret\" for db"), "bad \"***\" for db");
        assert_eq!(secrets.scrub_foreign("bad \"s3cret\" for db"), "bad \"***\" for ***");
    }
}
