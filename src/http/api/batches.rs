//! Many sends at once.

use std::collections::BTreeMap;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::LOCATION;
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, Object, ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

use super::send_request::SendRequest;
use crate::domain::batch::{Batch, BatchCount, ItemError, RejectedItem};
use crate::domain::clock::Timestamp;
use crate::domain::ids::{BatchId, MessageId};
use crate::http::context::RequestContext;
use crate::http::error::{ApiError, Code, Problem, Upstream};
use crate::http::extract::caller::{Allowed, Read, Send};
use crate::http::extract::fields::{Faults, Fields};
use crate::http::extract::idempotency::IdempotencyKey;
use crate::http::extract::json::{ApiJson, FromJson, Json};
use crate::http::extract::path::BatchPath;
use crate::services::accept::{SendInput, Warning};
use crate::services::batches::{BatchInput, Batches};

const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const MAX_ITEMS: usize = 1_000;
/// Fields of a send that mean nothing in a batch.
const NOT_HERE: [&str; 2] = ["async", "dry_run"];

/// The body of a batch, read: the items that could be, and those that could not.
pub struct BatchRequest {
    input: BatchInput,
}

/// The body of a batch as the document describes it.
pub struct BatchBody;

impl utoipa::ToSchema for BatchBody {}

impl PartialSchema for BatchBody {
    fn schema() -> RefOr<Schema> {
        let mut body = item();
        let messages = ArrayBuilder::new()
            .items(item())
            .min_items(Some(1))
            .max_items(Some(MAX_ITEMS))
            .description(Some("What differs from message to message; any of the other fields."));
        let atomic = ObjectBuilder::new()
            .schema_type(Type::Boolean)
            .default(Some(false.into()))
            .description(Some("All of them, or none."));
        body.properties.insert("messages".to_owned(), messages.into());
        body.properties.insert("atomic".to_owned(), atomic.into());
        body.required = vec!["messages".to_owned()];
        body.description = Some(
            "Up to 1,000 sends. A field beside `messages` holds for each message that does not have it; `data` is put \
             together keyword by keyword."
                .to_owned(),
        );
        body.example = Some(serde_json::json!({
            "template_id": "order_paid", "data": {"thing1": "Tea"},
            "messages": [{"touser": "oABCD1", "data": {"amount2": "¥1.00"}}, {"touser": "oABCD2", "data": {"amount2": "¥2.00"}}]
        }));
        RefOr::T(Schema::Object(body))
    }
}

/// A send of which nothing is required, because it may stand beside `messages`.
fn item() -> Object {
    let RefOr::T(Schema::Object(mut item)) = SendRequest::schema() else { return Object::default() };
    for name in NOT_HERE {
        item.properties.remove(name);
    }
    item.required.clear();
    item.example = None;
    item
}

/// What was kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchAnswer {
    #[schema(value_type = String, example = "bat_01ARZ3NDEKTSV4RRFFQ69G5FAV")]
    pub batch_id: BatchId,
    pub accepted: usize,
    pub rejected: Vec<RejectedView>,
    /// Of the accepted ones, in the order of the request.
    #[schema(value_type = Vec<String>)]
    pub message_ids: Vec<MessageId>,
    /// What may surprise: more messages than the account may still send today.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// One that was not kept.
#[derive(Debug, Serialize, ToSchema)]
pub struct RejectedView {
    /// Its place in `messages`, from 0.
    pub index: u32,
    pub error: RejectedError,
}

/// As a problem, without the request's id.
#[derive(Debug, Serialize, ToSchema)]
pub struct RejectedError {
    #[serde(rename = "type")]
    pub kind: String,
    pub title: &'static str,
    pub status: u16,
    pub code: String,
    pub detail: String,
    pub retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub message_id: Option<MessageId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<Upstream>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<crate::services::accept::FieldError>)]
    pub errors: Vec<ItemError>,
}

/// A batch read back.
#[derive(Debug, Serialize, ToSchema)]
pub struct BatchView {
    #[serde(flatten)]
    pub answer: BatchAnswer,
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// How many messages stand in each state now; those that retention has deleted are not counted.
    #[schema(example = json!({"sent": 12, "delivered": 986}))]
    pub counts: BTreeMap<&'static str, u64>,
    /// How many this request canceled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canceled: Option<usize>,
}

impl BatchAnswer {
    fn of(batch: Batch, warnings: Vec<Warning>) -> Self {
        Self {
            warnings,
            batch_id: batch.id,
            accepted: batch.message_ids.len(),
            rejected: batch.rejected.into_iter().map(RejectedView::of).collect(),
            message_ids: batch.message_ids,
        }
    }
}

impl RejectedView {
    fn of(item: RejectedItem) -> Self {
        let code = Code::parse(&item.code).unwrap_or(Code::Internal);
        let meaning = code.meaning();
        let error = RejectedError {
            kind: format!("/problems/{}", meaning.text),
            title: meaning.title,
            status: meaning.status.as_u16(),
            code: item.code,
            detail: item.detail,
            retryable: meaning.retryable,
            reason: item.reason,
            message_id: item.message_id,
            upstream: item.upstream.map(|said| Upstream { errcode: said.errcode, errmsg: said.errmsg, rid: None }),
            errors: item.errors,
        };
        Self { index: item.index, error }
    }
}

impl BatchView {
    fn of(batch: Batch, counts: Vec<BatchCount>, canceled: Option<usize>) -> Self {
        let mut sums = BTreeMap::new();
        for count in counts {
            *sums.entry(count.state.as_str()).or_default() += count.count;
        }
        Self { created_at: batch.created_at, answer: BatchAnswer::of(batch, Vec::new()), counts: sums, canceled }
    }
}

/// Send up to 1,000 messages.
///
/// 202: what is not in `rejected` is kept, all of it on disk. 422: nothing was kept, because no message is valid or because one
/// is not and `atomic` is true.
#[utoipa::path(
    post, path = "/send-template/batch", operation_id = "send_batch", tag = "batches", security(("key" = ["send"])),
    params(("Idempotency-Key" = Option<String>, Header, description = "As for one send: the same key and body give the same batch.")),
    request_body = BatchBody,
    responses(
        (status = 202, description = "Kept and under way.", body = BatchAnswer,
            headers(("Location" = String, description = "The batch."), ("Idempotency-Replayed" = bool, description = "`true`: it was here before."))),
        (status = "4XX", description = "Nothing was kept; see `code`.", body = Problem, content_type = "application/problem+json"),
        (status = "5XX", description = "Nothing was kept; see `code`.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn send(
    Allowed(caller, _): Allowed<Send>,
    State(batches): State<Batches>,
    Extension(context): Extension<RequestContext>,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    ApiJson { value: request, hash }: ApiJson<BatchRequest>,
) -> Result<Response, ApiError> {
    let mut input = request.input;
    input.idempotency_key = idempotency_key;
    input.body_hash = hash;
    for (_, item) in &mut input.items {
        item.trace = context.traceparent.as_deref().map(str::to_owned);
    }
    let kept = batches.send(&caller, input).await?;
    let location = HeaderValue::from_str(&format!("/v1/batches/{}", kept.batch.id));
    let mut response = (StatusCode::ACCEPTED, axum::Json(BatchAnswer::of(kept.batch, kept.warnings))).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    if kept.replayed {
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// One batch, and how many of its messages stand in each state.
#[utoipa::path(
    get, path = "/v1/batches/{id}", operation_id = "read_batch", tag = "batches", security(("key" = ["read"])),
    params(("id" = String, Path, description = "`bat_…`")),
    responses(
        (status = 200, description = "The batch.", body = BatchView),
        (status = 404, description = "There is none that this key may see.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn look_up(
    Allowed(caller, _): Allowed<Read>,
    State(batches): State<Batches>,
    BatchPath(id): BatchPath,
) -> Result<axum::Json<BatchView>, ApiError> {
    let (batch, counts) = batches.look_up(&caller, id).await?;
    Ok(axum::Json(BatchView::of(batch, counts, None)))
}

/// Cancel the messages of a batch that still wait.
#[utoipa::path(
    delete, path = "/v1/batches/{id}", operation_id = "cancel_batch", tag = "batches", security(("key" = ["send"])),
    params(("id" = String, Path, description = "`bat_…`")),
    responses(
        (status = 200, description = "What had not begun is `canceled`; `canceled` says how many.", body = BatchView),
        (status = 404, description = "There is none that this key may see.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn cancel(
    Allowed(caller, _): Allowed<Send>,
    State(batches): State<Batches>,
    BatchPath(id): BatchPath,
) -> Result<axum::Json<BatchView>, ApiError> {
    let (canceled, batch, counts) = batches.cancel(&caller, id).await?;
    Ok(axum::Json(BatchView::of(batch, counts, Some(canceled))))
}

impl FromJson for BatchRequest {
    fn from_json(json: Json) -> Result<Self, ApiError> {
        let mut faults = Faults::default();
        let mut request = Self { input: BatchInput::default() };
        let Json::Object(mut members) = json else {
            faults.malformed("", "type", "expected an object");
            faults.check()?;
            return Ok(request);
        };
        let items = take(&mut members, "messages");
        let atomic = take(&mut members, "atomic");
        not_in_a_batch(&members, &mut faults);
        match atomic {
            None | Some(Json::Null) => {}
            Some(Json::Bool(atomic)) => request.input.atomic = atomic,
            Some(_) => faults.malformed("/atomic", "type", "expected a boolean"),
        }
        match items {
            Some(Json::Array(items)) if (1..=MAX_ITEMS).contains(&items.len()) => {
                faults.check()?;
                request.read_items(&members, items);
                return Ok(request);
            }
            Some(Json::Array(_)) => faults.invalid("/messages", "count", format!("1 to {MAX_ITEMS} messages")),
            Some(_) => faults.malformed("/messages", "type", "expected an array"),
            None => faults.malformed("/messages", "required", "messages is missing"),
        }
        faults.check()?;
        Ok(request)
    }
}

impl BatchRequest {
    fn read_items(&mut self, defaults: &[(String, Json)], items: Vec<Json>) {
        for (index, item) in (0u32..).zip(items) {
            match read_item(defaults, item) {
                Ok(item) => self.input.items.push((index, item)),
                Err(error) => self.input.rejected.push(rejected(index, &error)),
            }
        }
    }
}

fn read_item(defaults: &[(String, Json)], item: Json) -> Result<SendInput, ApiError> {
    let mut faults = Faults::default();
    let whole = over(defaults, item);
    let hash = whole.canonical_hash();
    if let Json::Object(members) = &whole {
        not_in_a_batch(members, &mut faults);
    }
    let request = Fields::open(whole, "", &mut faults).map(|fields| SendRequest::read(fields, &mut faults));
    faults.check()?;
    let mut input = request.unwrap_or_default().into_input();
    input.body_hash = hash;
    Ok(input)
}

fn not_in_a_batch(members: &[(String, Json)], faults: &mut Faults) {
    for name in NOT_HERE {
        if members.iter().any(|(member, _)| member == name) {
            faults.malformed(
                format!("/{name}"),
                "unknown",
                "has no meaning in a batch, which is kept and answered at once",
            );
        }
    }
}

/// The item, with what it lacks. Keywords are put together one by one; either of two fields that exclude each other is enough.
fn over(defaults: &[(String, Json)], item: Json) -> Json {
    const EXCLUSIVE: [[&str; 2]; 2] = [["touser", "user_id"], ["expires_at", "ttl_s"]];
    let Json::Object(mut members) = item else { return item };
    let given: Vec<String> = members.iter().map(|(name, _)| name.clone()).collect();
    for (name, default) in defaults {
        let excluded = |pair: &[&str; 2]| {
            pair.contains(&name.as_str()) && pair.iter().any(|one| given.iter().any(|given| given == one))
        };
        match (members.iter_mut().find(|(member, _)| member == name), default) {
            (Some((_, Json::Object(own))), Json::Object(common)) if name == "data" => {
                let missing: Vec<_> = common
                    .iter()
                    .filter(|(keyword, _)| !own.iter().any(|(known, _)| known == keyword))
                    .cloned()
                    .collect();
                own.splice(0..0, missing);
            }
            (Some(_), _) => {}
            (None, _) if EXCLUSIVE.iter().any(excluded) => {}
            (None, default) => members.push((name.clone(), default.clone())),
        }
    }
    Json::Object(members)
}

fn take(members: &mut Vec<(String, Json)>, name: &str) -> Option<Json> {
    let index = members.iter().position(|(member, _)| member == name)?;
    Some(members.remove(index).1)
}

fn rejected(index: u32, error: &ApiError) -> RejectedItem {
    let errors = error.errors().iter().map(|error| ItemError {
        path: format!("/messages/{index}{}", error.path),
        code: error.code.to_owned(),
        detail: error.detail.clone(),
    });
    RejectedItem {
        index,
        code: error.code().as_str().to_owned(),
        detail: error.detail().to_owned(),
        reason: None,
        message_id: None,
        upstream: None,
        errors: errors.collect(),
    }
}
