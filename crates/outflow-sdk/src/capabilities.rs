//! What a connector can do. Capabilities decide what the runtime may ask, what `check` refuses, which
//! conformance checks run, and what `describe` prints.

use serde::Serialize;

macro_rules! capabilities {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
        #[non_exhaustive]
        pub struct $name {
            $($(#[$field_doc])* pub $field: bool,)*
        }

        impl $name {
            /// Nothing special.
            pub const fn new() -> Self {
                Self { $($field: false),* }
            }

            $(
                $(#[$field_doc])*
                #[must_use]
                pub const fn $field(mut self) -> Self {
                    self.$field = true;
                    self
                }
            )*

            /// The capabilities that are there, by name.
            pub fn names(&self) -> Vec<&'static str> {
                let mut names = Vec::new();
                $(if self.$field { names.push(stringify!($field)); })*
                names
            }
        }
    };
}

capabilities! {
    /// What a source can do.
    SourceCapabilities {
        /// Goes on after a position, so that a restart neither loses nor repeats what was checkpointed.
        resume,
        /// Tells deletes.
        deletes,
        /// Tells updates.
        updates,
        /// Tells the row before a change.
        before_images,
        /// Keeps progress by marks in the source instead of positions.
        marks,
        /// Ends by itself: a file, or with `--stop-at current`.
        stop_at_current,
        /// Reads what is there before it follows changes.
        snapshot,
    }
}

capabilities! {
    /// What a sink can do.
    SinkCapabilities {
        /// Keeps the order of records of one key.
        ordered,
        /// Drops repeats by event id, or lets its consumers do so.
        dedup_by_id,
        /// Commits the checkpoint with the data.
        transactional,
        /// Names the records that it refuses and takes the others.
        rejects,
    }
}
