//! Bulk writes: the lines of an uploaded CSV file become records.

use std::time::SystemTime;

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::named::{module_name, no_such_job, no_such_module};
use super::{csv, zip};
use crate::emulator::crm::ask::Ask;
use crate::emulator::crm::items::text;
use crate::emulator::crm::model::bulk::{Job, Mapping, Operation, Order, Progress, Task, Written};
use crate::emulator::crm::model::{self, File, Holder, Record};
use crate::emulator::crm::records;
use crate::emulator::crm::state::Crm;
use crate::emulator::replies::{self, Reply, success};

/// How many bytes a CSV file may have, as Zoho's page on bulk writes has it.
const MOST_BYTES: usize = 25 * 1024 * 1024;
/// How many lines, apart from the first.
const MOST_LINES: usize = 25_000;

/// Where Zoho keeps the reports.
const DOWNLOADS: &str = "https://download-accl.zoho.com";

/// `POST /crm/bulk/{version}/write`
pub(super) fn begin(crm: &mut Crm, ask: &Ask<'_>) -> Reply {
    let order = match ordered(crm, ask) {
        Ok(order) => order,
        Err(reply) => return reply,
    };
    let id = crm.new_id();
    let details = json!({ "id": id, "created_by": crm.me() });
    crm.bulk.begin(id, ask, Task::Write { order, written: None });
    Reply::json(StatusCode::CREATED, &success(details, "success"))
}

/// `GET /crm/bulk/{version}/write/{job}`
pub(super) fn told(crm: &Crm, ask: &Ask<'_>, id: &str) -> Reply {
    let Some((job, Task::Write { order, written })) = crm.bulk.find(id).map(|job| (job, &job.task)) else {
        return no_such_job(id);
    };
    let progress = job.progress(crm.bulk_job_takes, ask.now);
    let mut row = json!({
        "status": progress.as_str(),
        "character_encoding": order.given.1,
        "resource": [resource(order, written.as_ref(), progress)],
        "id": id,
        "operation": order.operation.as_str(),
        "created_by": crm.me(),
        "created_time": replies::iso(job.created),
    });
    if written.is_some() {
        // Told with the host, as Zoho does: who follows it leaves a proxy that it was asked through.
        let url = format!("{}/v2/crm/{}/bulk-write/{id}/{id}.zip", ask.home.unwrap_or(DOWNLOADS), crm.zgid);
        row["result"] = json!({ "download_url": url });
    }
    Reply::ok(&row)
}

/// `GET /v2/crm/{organisation}/bulk-write/{job}/{job}.zip`
pub(super) fn result(crm: &Crm, id: &str) -> Reply {
    let file = crm.files.of(&Holder::ResultOf(id.to_owned())).next();
    file.map_or_else(|| no_such_job(id), File::download)
}

/// Writes, at the end of the job's time.
pub(super) fn complete(crm: &mut Crm, mut job: Job) -> Job {
    let end = job.created + crm.bulk_job_takes;
    let Task::Write { order, written } = &mut job.task else { return job };
    let head = ["STATUS", "RECORD_ID", "ERRORS"].map(str::to_owned).to_vec();
    let mut report = vec![head];
    let mut counts = Written::default();
    for line in std::mem::take(&mut order.lines) {
        let outcome = write(crm, order, &line, end);
        let (status, count) = match &outcome {
            Ok((_, true)) => ("ADDED", &mut counts.added),
            Ok((_, false)) => ("UPDATED", &mut counts.updated),
            Err(_) => ("SKIPPED", &mut counts.skipped),
        };
        *count += 1;
        let (id, error) = outcome.map_or_else(|code| (String::new(), code), |(id, _)| (id, String::new()));
        report.push(vec![status.to_owned(), id, error]);
    }
    *written = Some(counts);
    let content = zip::write(&format!("{}.csv", job.id), csv::write(report.into_iter()).as_bytes());
    let (name, holder) = (format!("{}.zip", job.id), Holder::ResultOf(job.id.clone()));
    crm.files.add(File::new(job.id.clone(), name, content.into(), holder, end));
    job
}

/// The record's id, and whether it is a new one; or the code of what is wrong.
fn write(crm: &mut Crm, order: &Order, line: &[String], now: SystemTime) -> Result<(String, bool), String> {
    let mut item = Map::new();
    for Mapping { field, index, default } in &order.mappings {
        let given = index.and_then(|index| line.get(index)).filter(|value| !value.is_empty());
        let value = given.map(|value| Value::from(value.as_str())).or_else(|| default.clone());
        item.extend(value.map(|value| (field.clone(), value)));
    }
    let wanted = item.get(&order.find_by).map(model::text);
    let found = wanted.and_then(|wanted| {
        let mut all = crm.module(&order.module)?.records.iter();
        let is_it = |id: &str, record: &Record| model::text(&record.value(id, &order.find_by)) == wanted;
        all.find(|(id, record)| is_it(id, record)).map(|(id, _)| id.clone())
    });
    let outcome = match (order.operation, found) {
        (Operation::Update, None) => return Err("NOT_FOUND".to_owned()),
        (Operation::Insert, _) | (Operation::Upsert, None) => {
            records::create(crm, now, &order.module, &item).map(|outcome| (outcome, true))
        }
        (Operation::Update | Operation::Upsert, Some(id)) => {
            records::change(crm, now, &order.module, &id, &item).map(|outcome| (outcome, false))
        }
    };
    let told = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match outcome {
        Ok((outcome, is_new)) => Ok((told(&outcome["details"]["id"]), is_new)),
        Err(problem) => Err(told(&problem["code"])),
    }
}

fn ordered(crm: &Crm, ask: &Ask<'_>) -> Result<Order, Reply> {
    let missing = |name: &str| {
        let message = format!("required key {name} is not found in request body.");
        Reply::bad("MISSING_REQUIRED_KEY", json!({ "api_name": name }), &message)
    };
    let bad = |code: &str, name: &str, message: &str| Reply::bad(code, json!({ "api_name": name }), message);
    let body: Value = serde_json::from_slice(ask.body)
        .map_err(|_| bad("INVALID_FORMAT", "body", "Unable to parse the request body."))?;
    let operation = body.get("operation").and_then(Value::as_str).ok_or_else(|| missing("operation"))?;
    let operation = Operation::named(operation)
        .ok_or_else(|| bad("INVALID_DATA", "operation", "the operation is none of insert, update, upsert"))?;
    let resource = body.get("resource").and_then(|all| all.get(0)).ok_or_else(|| missing("resource"))?;
    let module = resource.get("module").and_then(module_name).ok_or_else(|| missing("module"))?;
    let there = crm.module(module).ok_or_else(|| no_such_module(module))?;
    let file_id = resource.get("file_id").and_then(Value::as_str).ok_or_else(|| missing("file_id"))?;
    let file = crm.files.find(file_id).filter(|file| file.holder == Holder::Nobody);
    let file = file.ok_or_else(|| bad("INVALID_FILE_ID", "file_id", "improper file id"))?;
    let (name, content) = zip::read(&file.content, MOST_BYTES).ok_or_else(|| {
        bad("INVALID_FILE_FORMAT", "file_id", "invalid file format. only zip format is supported")
    })?;
    let mut lines = csv::read(&String::from_utf8_lossy(&content)).into_iter();
    let head = lines.next().unwrap_or_default();
    if lines.len() > MOST_LINES {
        return Err(Reply::bad(
            "LIMIT_EXCEEDED",
            json!({ "limit": MOST_LINES }),
            "the file has too many lines",
        ));
    }
    let mappings = match resource.get("field_mappings").and_then(Value::as_array) {
        Some(given) => given.iter().filter_map(Value::as_object).map(Mapping::of).collect(),
        None => head.into_iter().enumerate().map(Mapping::of_column).collect::<Vec<_>>(),
    };
    if let Some(Mapping { field, .. }) = mappings.iter().find(|mapping| !there.has(&mapping.field)) {
        return Err(bad("INVALID_FIELD", field, &format!("invalid mapping. invalid api_name {field}.")));
    }
    Ok(Order {
        operation,
        module: there.api_name.clone(),
        find_by: resource.get("find_by").and_then(Value::as_str).unwrap_or("id").to_owned(),
        mappings,
        file: name,
        lines: lines.collect(),
        given: (resource.clone(), body.get("character_encoding").cloned().unwrap_or_else(|| "UTF-8".into())),
    })
}

fn resource(order: &Order, written: Option<&Written>, progress: Progress) -> Value {
    let mut resource = json!({
        "status": progress.as_str(),
        "type": "data",
        "module": order.given.0["module"],
        "field_mappings": order.given.0["field_mappings"],
        "file": { "status": progress.as_str(), "name": order.file },
    });
    if let Some(Written { added, updated, skipped }) = written {
        let counts = [("added", *added), ("updated", *updated), ("skipped", *skipped)];
        for (name, count) in counts {
            resource["file"][format!("{name}_count")] = Value::from(count);
        }
        resource["file"]["total_count"] = Value::from(added + updated + skipped);
    }
    resource
}

impl Mapping {
    fn of(given: &Map<String, Value>) -> Self {
        let index = given.get("index").and_then(Value::as_u64);
        let default = given.get("default_value").and_then(|default| default.get("value")).cloned();
        let field = text(given, "api_name").unwrap_or_default().to_owned();
        Self { field, index: index.and_then(|index| usize::try_from(index).ok()), default }
    }

    /// Without mappings, the first line names the fields.
    fn of_column((index, name): (usize, String)) -> Self {
        Self { field: name, index: Some(index), default: None }
    }
}
