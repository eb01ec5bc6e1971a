//! `outflow position`.

use outflow_config::PipelineFile;
use outflow_sdk::serde_json::{self, Value as Json, json};
use outflow_sdk::{CheckpointDelta, Error, PartitionId, Registry, Result, StateScope};
use outflow_state::FileStore;

use crate::arguments::{Files, PositionAction, PositionArgs};
use crate::assemble::{load, state_root};
use crate::exit::Exit;
use crate::process::Process;
use crate::run::runtime;
use crate::say::{mistake, say};

/// Shows or changes where a pipeline goes on.
pub(crate) fn position(registry: &Registry, arguments: &PositionArgs, process: &Process) -> Exit {
    let result = match &arguments.action {
        PositionAction::Show { files } => show(registry, files, process),
        PositionAction::Set { file, partition, position } => {
            one(registry, file, process).and_then(|p| set(registry, &p, partition, position, process))
        }
        PositionAction::Reset { file } => one(registry, file, process).and_then(|p| reset(&p, process)),
    };
    match result {
        Ok(()) => Exit::Ok,
        Err(Failure::Told(exit)) => exit,
        Err(Failure::Error(error)) => process.refuse(&error),
    }
}

enum Failure {
    /// Already printed.
    Told(Exit),
    Error(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

fn one(registry: &Registry, file: &std::path::Path, process: &Process) -> Result<PipelineFile, Failure> {
    let files = Files { paths: vec![file.to_owned()], set: Vec::new() };
    let mut pipelines = load(registry, &files, process, "Nothing was changed.").map_err(Failure::Told)?;
    match pipelines.len() {
        1 => Ok(pipelines.remove(0)),
        n => {
            Err(mistake("config.one_pipeline", format!("there are {n} pipelines"), "name the file of one")
                .into())
        }
    }
}

/// The store of a pipeline, if its state is in files.
fn store(file: &PipelineFile, process: &Process) -> Result<(FileStore, StateScope)> {
    let root = match &file.state {
        Some(block) if block.kind != "file" => {
            return Err(Error::configuration("state.not_in_files")
                .message(format!("the state of {} is of type {}", file.name, block.kind))
                .hint("positions can be shown and changed where state is in files"));
        }
        Some(block) if process.state_dir.is_none() => {
            let path = block.config.get("path").and_then(Json::as_str).unwrap_or(".outflow");
            file.folder().join(path)
        }
        _ => state_root(file, process),
    };
    Ok((FileStore::at(root), StateScope::pipeline(file.name.as_str())))
}

fn show(registry: &Registry, files: &Files, process: &Process) -> Result<(), Failure> {
    let pipelines = load(registry, files, process, "").map_err(Failure::Told)?;
    let mut documents = Vec::new();
    for file in &pipelines {
        let (store, scope) = store(file, process)?;
        let checkpoint = store.peek(&scope)?;
        if process.json {
            let positions: serde_json::Map<_, _> =
                checkpoint.positions().map(|(k, v)| (k.as_str().to_owned(), v.as_str().into())).collect();
            documents.push(
                json!({ "pipeline": file.name, "source": checkpoint.fingerprint(), "positions": positions }),
            );
            continue;
        }
        say!("{}   {}", file.name, checkpoint.fingerprint().unwrap_or("nothing stored"));
        checkpoint.positions().for_each(|(partition, at)| say!("  {partition}  {at}"));
    }
    if process.json {
        process.document(&Json::Array(documents));
    }
    Ok(())
}

fn set(
    registry: &Registry,
    file: &PipelineFile,
    partition: &str,
    text: &str,
    process: &Process,
) -> Result<(), Failure> {
    let codec = registry.get_source(&file.source.kind).and_then(|s| s.positions()).ok_or_else(|| {
        Error::configuration("position.no_form")
            .message(format!("{} has no positions to set", file.source.kind))
    })?;
    let position = codec.parse(text)?;
    let (store, scope) = store(file, process)?;
    let partition = PartitionId::new(partition);
    let known = store.peek(&scope)?;
    if known.position(&partition).is_none() {
        let names: Vec<String> = known.positions().map(|(p, _)| p.to_string()).collect();
        return Err(Error::configuration("position.unknown_partition")
            .message(format!("{} has no partition \"{partition}\"", file.name))
            .hint(format!("it has {}", if names.is_empty() { "none yet".into() } else { names.join(", ") }))
            .into());
    }
    let mut delta = CheckpointDelta::new();
    delta.set_position(partition.clone(), position.clone());
    change(&store, &scope, &delta)?;
    let at = codec.print(&position);
    if process.json {
        process.document(&json!({ "pipeline": file.name, "partition": partition.as_str(), "position": at }));
    } else {
        say!("{}: {partition} goes on after {at}", file.name);
    }
    Ok(())
}

fn reset(file: &PipelineFile, process: &Process) -> Result<(), Failure> {
    let (store, scope) = store(file, process)?;
    let runtime = runtime().map_err(Failure::Told)?;
    // A damaged file must be resettable too, so it is set aside rather than read.
    let aside = runtime.block_on(store.set_aside(&scope))?;
    match &aside {
        _ if process.json => process.document(&json!({ "pipeline": file.name, "kept": aside })),
        Some(path) => {
            say!("{}: starts from the beginning; what was stored is kept as {}", file.name, path.display())
        }
        None => say!("{}: starts from the beginning; nothing was stored", file.name),
    }
    Ok(())
}

fn change(store: &FileStore, scope: &StateScope, delta: &CheckpointDelta) -> Result<(), Failure> {
    use outflow_sdk::{CheckpointStore as _, Owner};
    let runtime = runtime().map_err(Failure::Told)?;
    runtime.block_on(async {
        let owner =
            Owner { host: "outflow position".into(), pid: std::process::id(), instance: "position".into() };
        let lease = store.acquire(scope, &owner).await?;
        store.commit(&lease, delta).await?;
        store.release(lease).await
    })?;
    Ok(())
}
