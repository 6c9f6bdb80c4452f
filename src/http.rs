//! HTTP, version 1.
