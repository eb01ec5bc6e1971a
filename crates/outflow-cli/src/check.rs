//! `outflow validate` and `outflow check`.

use outflow_config::{Diagnostic, Loader, ProcessEnvironment, Severity};
use outflow_sdk::serde_json::json;
use outflow_sdk::{Findings, Level, Registry};

use crate::arguments::{Check, Files};
use crate::assemble::{Assembled, assemble, load};
use crate::exit::Exit;
use crate::output::{place, span};
use crate::process::Process;
use crate::run::{LOOK, runtime};
use crate::say::say;

/// Looks for mistakes in the files alone.
pub(crate) fn validate(registry: &Registry, files: &Files, process: &Process) -> Exit {
    let Ok(runtime) = runtime() else { return Exit::Environment };
    let loaded = Loader::new(registry, &ProcessEnvironment).set(&files.set).load_paths(&files.paths);
    let mut diagnostics = loaded.diagnostics;
    let names: Vec<String> = loaded.pipelines.iter().map(|p| p.name.clone()).collect();
    for file in loaded.pipelines {
        if let Err(mistake) = runtime.block_on(assemble(registry, file, process)) {
            diagnostics.push(*mistake);
        }
    }
    let valid = !diagnostics.iter().any(|d| d.severity == Severity::Error);
    if process.json {
        let list: Vec<_> = diagnostics.iter().map(Diagnostic::to_json).collect();
        process.document(&json!({ "valid": valid, "pipelines": names, "diagnostics": list }));
    } else {
        process.report(&diagnostics, "");
        if valid {
            say!("valid: {}", names.join(", "));
        }
    }
    if valid { Exit::Ok } else { Exit::Configuration }
}

/// Looks at the systems, changing nothing.
pub(crate) fn check(registry: &Registry, arguments: &Check, process: &Process) -> Exit {
    let pipelines = match load(registry, &arguments.files, process, "Nothing was changed.") {
        Ok(pipelines) => pipelines,
        Err(exit) => return exit,
    };
    let Ok(runtime) = runtime() else { return Exit::Environment };
    let (mut errors, mut warnings) = (0, 0);
    let mut documents = Vec::new();
    for file in pipelines {
        let one = match runtime.block_on(assemble(registry, file, process)) {
            Ok(one) => one,
            Err(mistake) => {
                process.report(&[*mistake], "Nothing was changed.");
                return Exit::Configuration;
            }
        };
        let findings = runtime.block_on(look(&one));
        let name = &one.spec.name;
        errors += findings.iter().filter(|f| f.level == Level::Error).count();
        warnings += findings.iter().filter(|f| f.level == Level::Warn).count();
        if process.json {
            documents.push(json!({ "pipeline": &**name, "findings": findings.iter().collect::<Vec<_>>() }));
        } else if arguments.sql {
            findings.iter().flat_map(|f| &f.remedy).for_each(|line| say!("{line}"));
        } else {
            let (source, sink) = (&one.spec.source, &one.spec.sink);
            let source = place(source.type_name(), source.address());
            say!("{name}   {source} → {}", place(sink.type_name(), sink.address()));
            print(&findings);
        }
    }
    if process.json {
        process.document(&json!({ "pipelines": documents, "errors": errors, "warnings": warnings }));
    } else if !arguments.sql {
        say!("{}", summary(errors, warnings));
    }
    if errors > 0 { Exit::Environment } else { Exit::Ok }
}

/// What the connectors say of their systems.
async fn look(one: &Assembled) -> Findings {
    let mut findings = Findings::new();
    let look = async {
        one.spec.source.check(&mut findings).await;
        one.spec.sink.check(&mut findings).await;
    };
    if tokio::time::timeout(LOOK, look).await.is_err() {
        let message = format!("no answer within {}", span(LOOK));
        findings.require(
            false,
            "check.no_answer",
            message,
            "see whether the systems can be reached from here",
        );
    }
    findings
}

fn print(findings: &Findings) {
    let width = findings.iter().map(|f| f.code.len()).max().unwrap_or(0);
    for finding in findings.iter() {
        let word = match finding.level {
            Level::Ok => "ok",
            Level::Warn => "warn",
            _ => "error",
        };
        say!("  {word:<6} {:<width$}  {}", finding.code, finding.message);
        finding.remedy.iter().for_each(|line| say!("           {line}"));
    }
}

fn summary(errors: usize, warnings: usize) -> String {
    let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    match (errors, warnings) {
        (0, 0) => "All is well. Nothing was changed.".into(),
        _ => format!(
            "{}, {}. Nothing was changed.   (--sql prints only the statements)",
            count(errors, "error"),
            count(warnings, "warning")
        ),
    }
}
