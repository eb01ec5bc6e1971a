//! End-to-end, crash and fault tests over real servers
