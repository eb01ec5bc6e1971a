//! One test a check.

/// Writes one `#[test]` for each [`SourceCheck`](crate::conformance::SourceCheck), named as the check is. The
/// expression makes a [`SourceFixture`](crate::conformance::SourceFixture); it may await, and is evaluated for
/// each test. Use it once a module.
#[macro_export]
macro_rules! source_conformance {
    ($fixture:expr $(,)?) => {
        $crate::__conformance_tests! { SourceCheck, $fixture,
            nothing_is_lost_or_repeated_over_a_clean_restart: CleanRestart,
            changes_of_a_key_come_in_commit_order: OrderPerKey,
            progress_is_carried_by_every_batch: Progress,
            a_drop_at_any_await_loses_nothing: CancelAnywhere,
            stop_at_current_ends: StopAtCurrent,
            an_order_to_stop_is_obeyed: ControlStop,
            a_replay_gives_the_same_ids: StableIds,
            positions_grow_and_read_back: Positions,
        }
    };
}

/// Writes one `#[test]` for each [`SinkCheck`](crate::conformance::SinkCheck), named as the check is. The
/// expression makes a [`SinkFixture`](crate::conformance::SinkFixture); it may await, and is evaluated for each
/// test. Use it once a module.
#[macro_export]
macro_rules! sink_conformance {
    ($fixture:expr $(,)?) => {
        $crate::__conformance_tests! { SinkCheck, $fixture,
            an_ack_means_durable: AckMeansDurable,
            rejected_records_are_named: RejectedAreNamed,
            records_of_a_key_arrive_in_order: OrderPerKey,
            a_dropped_write_loses_nothing: CancelWrite,
            flush_resolves_every_ack: FlushResolves,
            nothing_is_lost_over_close_and_reopen: Reopen,
            an_empty_batch_is_acked: EmptyBatch,
        }
    };
}

/// The tests of a suite.
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ($suite:ident, $fixture:expr, $($test:ident: $check:ident,)*) => {
        $(
            #[test]
            fn $test() {
                $crate::conformance::block_on(async {
                    let check = $crate::conformance::$suite::$check;
                    $crate::conformance::require(check.run(&mut $fixture).await);
                });
            }
        )*
    };
}
