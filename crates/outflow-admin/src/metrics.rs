//! Metrics, read from the pipelines at each scrape. Names are an interface: `docs/reference/metrics.md` lists them.

use std::fmt;

use outflow_runtime::{LATENCY_BUCKETS_MS, Latency, Observer, State, Status};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _, MetricEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::memory::resident_bytes;

/// What `/metrics` is served as.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The metrics of a set of pipelines.
#[derive(Debug)]
pub(crate) struct Metrics(Registry);

impl Metrics {
    pub(crate) fn new(pipelines: Vec<Observer>) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Pipelines(pipelines)));
        Self(registry)
    }

    /// The exposition.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        text::encode(&mut out, &self.0)?;
        Ok(out)
    }
}

/// One pipeline at the moment of a scrape.
struct Sample {
    name: String,
    status: Status,
    latency: Latency,
}

/// One value of a pipeline.
enum Value {
    Counter(u64),
    Gauge(f64),
    /// Nothing to tell yet.
    None,
}

/// A metric with one value a pipeline.
struct Family {
    /// Without unit and `_total`.
    name: &'static str,
    unit: Option<&'static str>,
    kind: MetricType,
    help: &'static str,
    read: fn(&Sample) -> Value,
}

const fn counter(
    name: &'static str,
    unit: Option<&'static str>,
    help: &'static str,
    read: fn(&Sample) -> Value,
) -> Family {
    Family { name, unit, kind: MetricType::Counter, help, read }
}

const fn gauge(
    name: &'static str,
    unit: &'static str,
    help: &'static str,
    read: fn(&Sample) -> Value,
) -> Family {
    Family { name, unit: Some(unit), kind: MetricType::Gauge, help, read }
}

const FAMILIES: [Family; 13] = [
    counter(
        "outflow_received",
        Some("events"),
        "Events that the source emitted, repeats after a rewind included",
        |s| Value::Counter(s.status.counts.received),
    ),
    counter("outflow_received", Some("bytes"), "Bytes of these events", |s| {
        Value::Counter(s.status.counts.received_bytes)
    }),
    counter("outflow_delivered", Some("events"), "Events that the sink confirmed", |s| {
        Value::Counter(s.status.counts.delivered)
    }),
    counter("outflow_filtered", Some("events"), "Events that a transform filtered", |s| {
        Value::Counter(s.status.counts.filtered)
    }),
    counter("outflow_dead_lettered", Some("events"), "Events in the dead letters", |s| {
        Value::Counter(s.status.counts.dead_lettered)
    }),
    counter("outflow_retries", None, "Offers that the sink did not take, and attempts that failed", |s| {
        Value::Counter(s.status.counts.retries)
    }),
    counter("outflow_rewinds", None, "Rewinds to the checkpoint", |s| {
        Value::Counter(s.status.counts.rewinds)
    }),
    counter("outflow_checkpoints", None, "Checkpoints stored", |s| {
        Value::Counter(s.status.counts.checkpoints)
    }),
    gauge("outflow_in_flight", "batches", "Batches emitted and not done", |s| {
        Value::Gauge(s.status.counts.in_flight as f64)
    }),
    gauge("outflow_in_flight", "bytes", "Bytes that these batches retain", |s| {
        Value::Gauge(s.status.counts.in_flight_bytes as f64)
    }),
    gauge("outflow_replay", "bytes", "Bytes that would come again after a crash", |s| {
        Value::Gauge(s.status.counts.replay_bytes as f64)
    }),
    gauge("outflow_checkpoint_age", "seconds", "Time since progress was last stored by this process", |s| {
        seconds(s.status.checkpoint_age_ms)
    }),
    gauge("outflow_last_event_age", "seconds", "Time since the last event came from the source", |s| {
        seconds(s.status.last_event_ms)
    }),
];

fn seconds(ms: Option<u64>) -> Value {
    ms.map_or(Value::None, |ms| Value::Gauge(ms as f64 / 1000.0))
}

#[derive(Debug)]
struct Pipelines(Vec<Observer>);

impl Collector for Pipelines {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let sample =
            |p: &Observer| Sample { name: p.name().to_owned(), status: p.status(), latency: p.latency() };
        let samples: Vec<Sample> = self.0.iter().map(sample).collect();
        for family in &FAMILIES {
            let unit = family.unit.map(|unit| Unit::Other(unit.to_owned()));
            let mut out = encoder.encode_descriptor(family.name, family.help, unit.as_ref(), family.kind)?;
            for sample in &samples {
                let labels = [("pipeline", sample.name.as_str())];
                match (family.read)(sample) {
                    Value::Counter(n) => ConstCounter::new(n).encode(out.encode_family(&labels)?)?,
                    Value::Gauge(n) => ConstGauge::new(n).encode(out.encode_family(&labels)?)?,
                    Value::None => {}
                }
            }
        }
        states(&samples, &mut encoder)?;
        latencies(&samples, &mut encoder)?;
        process(&mut encoder)
    }
}

fn states(samples: &[Sample], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "1 for the state that the pipeline is in, 0 for all others";
    let mut out = encoder.encode_descriptor("outflow_pipeline_state", help, None, MetricType::Gauge)?;
    for sample in samples {
        for state in State::ALL {
            let labels = [("pipeline", sample.name.as_str()), ("state", state.as_str())];
            let is_in = i64::from(sample.status.state == state);
            ConstGauge::new(is_in).encode(out.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn latencies(samples: &[Sample], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Time of events from the source's socket to the sink's confirmation";
    let kind = MetricType::Histogram;
    let mut out = encoder.encode_descriptor("outflow_delivery_latency", help, Some(&Unit::Seconds), kind)?;
    for sample in samples {
        let bounds = LATENCY_BUCKETS_MS.iter().map(|ms| *ms as f64 / 1000.0).chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(sample.latency.buckets).collect();
        let count = buckets.iter().map(|(_, n)| n).sum();
        let sum = sample.latency.sum_us as f64 / 1_000_000.0;
        let labels = [("pipeline", sample.name.as_str())];
        let mut family: MetricEncoder<'_> = out.encode_family(&labels)?;
        family.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
    }
    Ok(())
}

fn process(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "The version of Outflow";
    let mut out = encoder.encode_descriptor("outflow_build", help, None, MetricType::Info)?;
    out.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
    if let Some(bytes) = resident_bytes() {
        let help = "Resident memory of the process";
        let kind = MetricType::Gauge;
        let out = encoder.encode_descriptor("process_resident_memory", help, Some(&Unit::Bytes), kind)?;
        ConstGauge::new(bytes as f64).encode(out)?;
    }
    Ok(())
}
