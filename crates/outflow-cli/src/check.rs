//! `outflow validate` and `outflow check`.

use outflow_sdk::{Findings, Level, Registry, serde_json};

use crate::arguments::{Check, Files};
use crate::assemble::{assemble, load, report};
use crate::exit::Exit;
use crate::logging::Process;
use crate::run::{LOOK, runtime};
use crate::say::say;

/// Looks for mistakes in the files alone.
pub(crate) fn validate(registry: &Registry, files: &Files, process: &Process) -> Exit {
    let pipelines = match load(registry, files, process, "") {
        Ok(pipelines) => pipelines,
        Err(exit) => return exit,
    };
    let Ok(runtime) = runtime() else { return Exit::Environment };
    let mut mistakes = Vec::new();
    let names: Vec<String> = pipelines.iter().map(|p| p.name.clone()).collect();
    for file in pipelines {
        if let Err(mistake) = runtime.block_on(assemble(registry, file, process)) {
            mistakes.push(*mistake);
        }
    }
    if !mistakes.is_empty() {
        report(&mistakes, process, "");
        return Exit::Configuration;
    }
    if process.json {
        say!("{}", serde_json::json!({ "valid": names }));
    } else {
        say!("valid: {}", names.join(", "));
    }
    Exit::Ok
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
                report(&[*mistake], process, "Nothing was changed.");
                return Exit::Configuration;
            }
        };
        let mut findings = Findings::new();
        runtime.block_on(async {
            let look = async {
                one.spec.source.check(&mut findings).await;
                one.spec.sink.check(&mut findings).await;
            };
            let _ = tokio::time::timeout(LOOK, look).await.map_err(|_| ());
        });
        let name = &one.spec.name;
        errors += findings.iter().filter(|f| f.level == Level::Error).count();
        warnings += findings.iter().filter(|f| f.level == Level::Warn).count();
        if process.json {
            documents.push(
                serde_json::json!({ "pipeline": &**name, "findings": findings.iter().collect::<Vec<_>>() }),
            );
        } else if arguments.sql {
            findings.iter().flat_map(|f| &f.remedy).for_each(|line| say!("{line}"));
        } else {
            let (source, sink) = (&one.spec.source, &one.spec.sink);
            say!(
                "{name}   {} {} → {} {}",
                source.type_name(),
                source.address(),
                sink.type_name(),
                sink.address()
            );
            print(&findings);
        }
    }
    if process.json {
        say!("{}", serde_json::json!({ "pipelines": documents, "errors": errors, "warnings": warnings }));
    } else if !arguments.sql {
        say!("{}", summary(errors, warnings));
    }
    if errors > 0 { Exit::Environment } else { Exit::Ok }
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
