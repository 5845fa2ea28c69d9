//! Every way to show who one is, against every route, and everything that must not pass for it.

mod attacks;
mod audit;
mod failures;
mod forms;
mod jwt;
mod nodes;
mod routes;
mod signed;
mod url;
mod uses;
