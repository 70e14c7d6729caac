//! Bulk reads: a module's records, or some of them, as a CSV file in a zip file.

use http::StatusCode;
use serde_json::{Value, json};

use super::named::{module_name, no_such_job, no_such_module};
use super::{csv, zip};
use crate::emulator::crm::ask::Ask;
use crate::emulator::crm::model::bulk::{Found, Job, Progress, Query, Task};
use crate::emulator::crm::model::criteria::Criteria;
use crate::emulator::crm::model::{self, File, Holder, Module, Record};
use crate::emulator::crm::state::Crm;
use crate::emulator::replies::{self, Reply};

/// How many records a page has.
const PER_PAGE: usize = 200_000;

/// `POST /crm/bulk/{version}/read`
pub(super) fn begin(crm: &mut Crm, ask: &Ask<'_>) -> Reply {
    let query = match asked(crm, ask) {
        Ok(query) => query,
        Err(reply) => return reply,
    };
    let id = crm.new_id();
    let details = json!({
        "id": id,
        "operation": "read",
        "state": Progress::Added.as_str(),
        "created_by": crm.me(),
        "created_time": replies::iso(ask.wall),
    });
    crm.bulk.begin(id, ask, Task::Read { query, found: None });
    let item = json!({ "status": "success", "code": "ADDED_SUCCESSFULLY", "message": "Added successfully.",
        "details": details });
    Reply::json(StatusCode::CREATED, &json!({ "data": [item], "info": {} }))
}

/// `GET /crm/bulk/{version}/read/{job}`
pub(super) fn told(crm: &Crm, ask: &Ask<'_>, id: &str) -> Reply {
    let Some((job, Task::Read { query, found })) = crm.bulk.find(id).map(|job| (job, &job.task)) else {
        return no_such_job(id);
    };
    let mut row = json!({
        "id": id,
        "operation": "read",
        "state": job.progress(crm.bulk_job_takes, ask.now).as_str(),
        "query": query.given,
        "created_by": crm.me(),
        "created_time": replies::iso(job.created),
        "file_type": "csv",
    });
    if let Some(found) = found {
        // The version of the API in this path is the one that was asked with.
        let path = format!("/crm/bulk/{}/read/{id}/result", ask.path.version);
        row["result"] = json!({ "page": query.page, "per_page": PER_PAGE, "count": found.count,
            "download_url": path, "more_records": found.more });
    }
    Reply::ok(&json!({ "data": [row] }))
}

/// `GET /crm/bulk/{version}/read/{job}/result`, once the job is completed.
pub(super) fn result(crm: &Crm, id: &str) -> Reply {
    let file = crm.files.of(&Holder::ResultOf(id.to_owned())).next();
    file.map_or_else(|| no_such_job(id), File::download)
}

/// Reads what there is now, at the end of the job's time.
pub(super) fn complete(crm: &mut Crm, mut job: Job) -> Job {
    let end = job.created + crm.bulk_job_takes;
    let Task::Read { query, found } = &mut job.task else { return job };
    let module = crm.module(&query.module);
    let (count, text) = module.map_or((0, String::new()), |module| table(module, query));
    let first = (query.page - 1).saturating_mul(PER_PAGE);
    let on_page = count.saturating_sub(first).min(PER_PAGE);
    *found = Some(Found { count: on_page, more: first + on_page < count });
    let content = zip::write(&format!("{}.csv", job.id), text.as_bytes());
    let (name, holder) = (format!("{}.zip", job.id), Holder::ResultOf(job.id.clone()));
    crm.files.add(File::new(job.id.clone(), name, content.into(), holder, end));
    job
}

fn asked(crm: &Crm, ask: &Ask<'_>) -> Result<Query, Reply> {
    let body: Value = serde_json::from_slice(ask.body).map_err(|_| {
        Reply::bad("REQUEST_BODY_NOT_READABLE", json!({}), "Unable to parse the request body.")
    })?;
    let missing = |name: &str| {
        Reply::bad("MANDATORY_NOT_FOUND", json!({ "api_name": name }), "required field not found")
    };
    let given = body.get("query").cloned().ok_or_else(|| missing("query"))?;
    let module = given.get("module").and_then(module_name).ok_or_else(|| missing("module"))?.to_owned();
    let there = crm.module(&module).ok_or_else(|| no_such_module(&module))?;
    let names = given.get("fields").and_then(Value::as_array).cloned().unwrap_or_default();
    let fields: Vec<String> = names.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let criteria = given.get("criteria").filter(|criteria| !criteria.is_null());
    let parsed = criteria.map(|criteria| {
        let message = format!("Invalid criteria {criteria} for the query.");
        Criteria::of_json(criteria)
            .ok_or_else(|| Reply::bad("INVALID_CRITERIA", json!({ "criteria": criteria }), &message))
    });
    let criteria = parsed.transpose()?;
    let of_criteria = criteria.iter().flat_map(Criteria::fields);
    if let Some(unknown) = fields.iter().map(String::as_str).chain(of_criteria).find(|name| !there.has(name))
    {
        let message = format!(
            "Requested field api name '{unknown}' is not available for the module '{module}'. Check permission \
             or visibility for the field."
        );
        return Err(Reply::bad("FIELD_NOT_AVAILABLE", json!({ "api_name": unknown }), &message));
    }
    let page = given.get("page").map_or(Some(1), Value::as_u64).and_then(|page| usize::try_from(page).ok());
    let page = page.filter(|page| (1..=500).contains(page)).ok_or_else(|| {
        let message = "Invalid page number for query. Page range is from 1 to 500.";
        Reply::bad("PAGE_RANGE_EXCEEDED", json!({ "page": given.get("page") }), message)
    })?;
    Ok(Query { module, fields, criteria, page, given })
}

/// How many records there are in all, and the page of them as CSV. The id always comes first, which is an
/// assumption: Zoho's pages show it in some samples only.
fn table(module: &Module, query: &Query) -> (usize, String) {
    let mut columns = vec!["Id"];
    let of_module = || module.fields.iter().map(|field| field.api_name.as_str());
    if query.fields.is_empty() {
        columns.extend(of_module());
        columns.extend(["Created_Time", "Modified_Time"]);
    } else {
        columns
            .extend(query.fields.iter().map(String::as_str).filter(|name| !name.eq_ignore_ascii_case("id")));
    }
    let is_wanted = |(id, record): &(&String, &Record)| {
        query.criteria.as_ref().is_none_or(|criteria| criteria.holds(id, record))
    };
    let records: Vec<(&String, &Record)> = module.records.iter().filter(is_wanted).collect();
    let values = |(id, record): &(&String, &Record)| {
        columns.iter().map(|name| model::text(&record.value(id, name))).collect()
    };
    let page = records.iter().skip((query.page - 1).saturating_mul(PER_PAGE)).take(PER_PAGE);
    let head = columns.iter().map(|&name| name.to_owned()).collect();
    (records.len(), csv::write(std::iter::once(head).chain(page.map(values))))
}
