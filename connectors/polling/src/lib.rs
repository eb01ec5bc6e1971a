//! Outflow source that polls tables which applications append to, an outbox first of all: SQLite and PostgreSQL
