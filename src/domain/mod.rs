//! What usage means: events, prices, windows, limits, pools, pauses, and the account that decides.
//!
//! Everything here is a pure function of its arguments. No I/O, no async, no clock, no floats, no logging: a test
//! needs nothing but values, and a replay decides exactly as the first run did.
//!
//! Read in this order: [`event`] (what comes in) → [`meter`] (what is counted) → [`window`] (when) → [`rate_card`]
//! (at what price) → [`payment`], [`pool`], [`reload`] (who pays) → [`limit`], [`pause`] (what is allowed) →
//! [`organization`] (seats, plans, members, agents) → [`control`] (what an admin says) →
//! [`account`] (one organization's state, in parts) → [`funding`] (who pays) → [`causes`] (why a scope is paused) →
//! [`usage`], [`command`], [`due`] (what events, records and time bring) → [`answer`], [`signal`], [`statement`] (what goes
//! out) → [`outlook`] (where it leads).

#![deny(clippy::float_arithmetic, reason = "no float touches an amount, a count or a decision")]

pub mod account;
pub mod answer;
mod bits;
mod calendar;
pub mod causes;
pub mod command;
pub mod control;
pub mod decision;
pub mod due;
pub mod event;
pub mod funding;
mod grant;
pub mod ids;
pub mod limit;
pub mod meter;
pub mod organization;
pub mod outlook;
pub mod pause;
pub mod payment;
pub mod pool;
pub mod rate_card;
pub mod reason;
pub mod refund;
pub mod reload;
mod retired;
pub mod scope;
pub mod signal;
pub mod statement;
pub mod time;
pub mod usage;
pub mod window;
