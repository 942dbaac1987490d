//! A schema registry that knows one schema.

use std::net::SocketAddr;

use axum::{Json, Router, extract::Path, http::StatusCode, routing::get};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::fill::SCHEMA_ID;
use crate::{
    cli::Failure,
    contract::{Kind, newest},
};

/// Serves the schema of token events until the process ends. Returns its address.
pub async fn serve() -> Result<String, Failure> {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    let address = listener.local_addr()?;
    let routes = Router::new().route("/schemas/ids/{id}", get(schema));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    Ok(format!("http://{address}"))
}

async fn schema(Path(id): Path<u32>) -> Result<Json<Value>, StatusCode> {
    if id != SCHEMA_ID {
        return Err(StatusCode::NOT_FOUND);
    }
    let schema = serde_json::to_string(&newest(Kind::Token).schema).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)?;
    Ok(Json(json!({ "schema": schema })))
}
