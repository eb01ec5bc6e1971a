//! `outflow run`.

use std::time::Duration;

use outflow_admin::Admin;
use outflow_runtime::{Observer, Pipeline, PipelineHandle};
use outflow_sdk::{Error, Registry};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::arguments::{Run, StopAt};
use crate::assemble::{Assembled, assemble, load};
use crate::exit::Exit;
use crate::output::{Reporter, TICK, place};
use crate::process::Process;
use crate::say::{mistake, tell};

/// Runs pipelines until all have ended.
pub(crate) fn run(registry: &Registry, arguments: &Run, process: &Process) -> Exit {
    let files = match load(registry, &arguments.files, process, "Nothing was started.") {
        Ok(files) if files.is_empty() => {
            let message = "there is no pipeline file there; nothing was started";
            return process.refuse(&mistake(
                "config.no_pipelines",
                message,
                "name a file, or a folder of them",
            ));
        }
        Ok(files) => files,
        Err(exit) => return exit,
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(exit) => return exit,
    };
    runtime.block_on(async {
        let mut assembled = Vec::new();
        let mut mistakes = Vec::new();
        for file in files {
            match assemble(registry, file, process).await {
                Ok(mut one) => {
                    one.spec.options.stop_at_current = arguments.stop_at == Some(StopAt::Current);
                    assembled.push(one);
                }
                Err(mistake) => mistakes.push(*mistake),
            }
        }
        if !mistakes.is_empty() {
            process.report(&mistakes, "Nothing was started.");
            return Exit::Configuration;
        }
        supervise(assembled, arguments.listen.or(process.listen), process).await
    })
}

/// The runtime that pipelines run in.
pub(crate) fn runtime() -> Result<tokio::runtime::Runtime, Exit> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(|e| {
        tell!("error[process.runtime]: cannot start threads: {e}");
        Exit::Environment
    })
}

/// Starts the pipelines, steers them by signals, and reports until the last has ended.
pub(crate) async fn supervise(
    pipelines: Vec<Assembled>,
    listen: Option<std::net::SocketAddr>,
    process: &Process,
) -> Exit {
    let server = match listen {
        Some(address) => match Admin::bind(address).await {
            Ok(server) => Some(server),
            Err(error) => {
                return process.refuse_as(&error, Exit::Environment);
            }
        },
        None => None,
    };
    for one in &pipelines {
        if let Err(error) = one.prepare() {
            return process.refuse(&error);
        }
    }
    let mut ends = JoinSet::new();
    let mut observers = Vec::new();
    let mut greetings = Vec::new();
    for one in pipelines {
        greetings.push(greeting(&one));
        let handle = Pipeline::spawn(one.spec);
        observers.push(handle.observer());
        ends.spawn(end(handle));
    }
    let mut reporter = Reporter::new(observers.clone(), process);
    greetings.iter().enumerate().for_each(|(i, text)| reporter.greet(i, text));
    let (close, closed) = tokio::sync::oneshot::channel::<()>();
    let server = server.map(|server| {
        reporter.listening(server.address());
        let closed = async {
            let _ = closed.await;
        };
        tokio::spawn(server.serve(observers.clone(), closed))
    });
    let exit = watch(&mut ends, &observers, &mut reporter).await;
    drop(close);
    if let Some(server) = server {
        let _ = server.await;
    }
    exit
}

async fn end(handle: PipelineHandle) -> (Observer, Result<(), Error>) {
    let observer = handle.observer();
    (observer, handle.wait().await)
}

fn greeting(one: &Assembled) -> String {
    let state = one
        .state
        .as_ref()
        .map_or_else(|| "memory".to_owned(), |root| root.join(&*one.spec.name).display().to_string());
    format!(
        "{} → {}; at-least-once; state {state}",
        place(one.spec.source.type_name(), one.spec.source.address()),
        place(one.spec.sink.type_name(), one.spec.sink.address()),
    )
}

async fn watch(
    ends: &mut JoinSet<(Observer, Result<(), Error>)>,
    observers: &[Observer],
    reporter: &mut Reporter,
) -> Exit {
    let mut stops = Stops::new();
    let mut tick = tokio::time::interval(TICK);
    let mut exit = Exit::Ok;
    let mut asked = 0;
    loop {
        tokio::select! {
            () = stops.next() => {
                asked += 1;
                if asked == 1 {
                    reporter.stopping();
                }
                for observer in observers {
                    if asked == 1 { observer.stop() } else { observer.abort() }
                }
            }
            ended = ends.join_next() => match ended {
                Some(Ok((observer, result))) => exit = exit.max(farewell(&observer, result, reporter)),
                Some(Err(error)) => {
                    tell!("error[pipeline.panic]: {error}");
                    exit = exit.max(Exit::Runtime);
                }
                None => {
                    return exit;
                }
            },
            _ = tick.tick() => reporter.tick(),
        }
    }
}

fn farewell(observer: &Observer, result: Result<(), Error>, reporter: &mut Reporter) -> Exit {
    match result {
        Ok(()) => {
            reporter.stopped(observer);
            Exit::Ok
        }
        Err(error) => {
            reporter.failed(observer, &error);
            // What has delivered something was set up.
            Exit::of(&error, observer.has_run() || observer.counts().received > 0)
        }
    }
}

/// SIGINT and SIGTERM.
pub(crate) struct Stops(Vec<tokio::signal::unix::Signal>);

impl Stops {
    pub(crate) fn new() -> Self {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate()];
        Self(kinds.into_iter().filter_map(|kind| signal(kind).ok()).collect())
    }

    /// The next of them. Cancel-safe.
    pub(crate) async fn next(&mut self) {
        let mut polls: Vec<_> = self.0.iter_mut().collect();
        std::future::poll_fn(|cx| {
            if polls.iter_mut().any(|s| s.poll_recv(cx).is_ready()) {
                return std::task::Poll::Ready(());
            }
            std::task::Poll::Pending
        })
        .await;
    }
}

/// The longest wait of a verb that looks at a system.
pub(crate) const LOOK: Duration = Duration::from_secs(15);
