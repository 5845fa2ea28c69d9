//! Pages of messages, newest first, without sorting more than is under way.
