//! Diagnostics as people read them.

use std::fmt::Write as _;

use crate::diagnostic::{Diagnostic, Excerpt, Place, Severity};

/// How diagnostics are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RenderOptions {
    /// Use ANSI colours.
    pub colour: bool,
}

struct Paint(bool);

impl Paint {
    fn over(&self, code: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn severity(&self, severity: Severity, text: &str) -> String {
        self.over(if severity == Severity::Error { "1;31" } else { "1;33" }, text)
    }

    fn dim(&self, text: &str) -> String {
        self.over("2", text)
    }
}

/// Prints one diagnostic: its sentence, its place, the line with the meant part marked. Ends with a line break.
pub fn render(diagnostic: &Diagnostic, options: RenderOptions) -> String {
    let paint = Paint(options.colour);
    let d = diagnostic;
    let head = format!("{}[{}]", d.severity.word(), d.code);
    let mut out = format!("{}: {}\n", paint.severity(d.severity, &head), d.message);
    match &d.place {
        Place::Line { file, line, column, excerpt, .. } => {
            let number = line.to_string();
            // Writing to a `String` cannot fail.
            let _ = writeln!(out, "  {file}:{line}:{column}");
            let _ = writeln!(out, "  {} {}", paint.dim(&format!("{number} |")), excerpt.text);
            let gutter = paint.dim(&format!("{} |", " ".repeat(number.len())));
            let _ = writeln!(out, "  {gutter} {}", marks(excerpt, d, &paint));
        }
        Place::Flag { text } => {
            let _ = writeln!(out, "  {}", text.text);
            let _ = writeln!(out, "  {}", marks(text, d, &paint));
        }
        Place::File { file: name } | Place::Variable { name } => {
            let _ = writeln!(out, "  {name}");
            if let Some(label) = &d.label {
                let _ = writeln!(out, "  {label}");
            }
        }
    }
    out
}

fn marks(excerpt: &Excerpt, diagnostic: &Diagnostic, paint: &Paint) -> String {
    let carets = paint.severity(diagnostic.severity, &"^".repeat(excerpt.marked.len().max(1)));
    let label = diagnostic.label.as_ref().map(|l| format!(" {l}")).unwrap_or_default();
    format!("{}{carets}{label}", " ".repeat(excerpt.marked.start))
}

/// Prints all diagnostics and the closing line: how many there are, `outcome` (such as `Nothing was started.`) and
/// where the keys of the connector concerned are listed. Empty without diagnostics.
///
/// ```text
/// error[config.unknown_key]: source has no key "tabels"
///   orders.yaml:5:3
///   5 |   tabels: [public.orders]
///     |   ^^^^^^ did you mean "tables"?
/// 1 error. Nothing was started.   All keys: outflow describe postgres
/// ```
pub fn render_all(diagnostics: &[Diagnostic], outcome: &str, options: RenderOptions) -> String {
    let mut out: String = diagnostics.iter().map(|d| render(d, options)).collect();
    if diagnostics.is_empty() {
        return out;
    }
    let count = |severity, word: &str| {
        let n = diagnostics.iter().filter(|d| d.severity == severity).count();
        (n > 0).then(|| format!("{n} {word}{}", if n == 1 { "" } else { "s" }))
    };
    let counts = [count(Severity::Error, "error"), count(Severity::Warning, "warning")];
    out += &counts.into_iter().flatten().collect::<Vec<_>>().join(", ");
    out.push('.');
    if !outcome.is_empty() {
        let _ = write!(out, " {outcome}");
    }
    if let Some(connector) = diagnostics.iter().find_map(|d| d.connector.as_ref()) {
        let _ = write!(out, "   All keys: outflow describe {connector}");
    }
    out.push('\n');
    out
}
