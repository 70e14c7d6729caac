"""Zoho's own Python SDK, of any version, against the sidecar as a user writes it.

SIDECAR is the base URL; calls go to the same place as token requests, unless API says otherwise. REFRESH_TOKEN or GRANT_TOKEN are what a user would
have from Zoho. The SDK swallows some of its own exceptions and then returns None: every answer is checked for it.
"""

import importlib
import importlib.util
import inspect
import io
import os
import sys
import time
import zipfile

import trap

# Version 2.1 lies in a package of another name.
ROOT = "zohocrmsdk" if importlib.util.find_spec("zohocrmsdk") else "zcrmsdk"


def package(*names):
    """A package of the SDK, by the first of these names that this version has."""
    for name in names:
        if importlib.util.find_spec(f"{ROOT}.src.com.zoho.{name}"):
            return importlib.import_module(f"{ROOT}.src.com.zoho.{name}")
    raise ModuleNotFoundError(names)


OAuthToken = package("api.authenticator").OAuthToken
api = package("crm.api")
HeaderMap, Initializer, ParameterMap = api.HeaderMap, api.Initializer, api.ParameterMap
bulk_read, bulk_write, fields = (package(f"crm.api.{name}") for name in ("bulk_read", "bulk_write", "fields"))
files, modules, org = package("crm.api.files", "crm.api.file"), package("crm.api.modules"), package("crm.api.org")
record, territories, users = (package(f"crm.api.{name}") for name in ("record", "territories", "users"))
DataCenter = package("crm.api.dc").DataCenter
SDKException = package("crm.api.exception").SDKException
SDKConfig = package("crm.api.sdk_config").SDKConfig
Choice, StreamWrapper = package("crm.api.util").Choice, package("crm.api.util").StreamWrapper

SIDECAR = os.environ["SIDECAR"]


def begin():
    """Initialises the SDK, which asks for a token at once."""
    api = os.environ.get("API", SIDECAR)
    parts = [api, SIDECAR + "/oauth/v2/token", api]
    try:
        environment = DataCenter.Environment(*parts)
    except TypeError:
        environment = DataCenter.Environment(*parts, "sidecar")
    credentials = {"client_id": "1000.MADEUP", "client_secret": "made-up-secret"}
    for given in ("refresh_token", "grant_token"):
        if given.upper() in os.environ:
            credentials[given] = os.environ[given.upper()]
    # With it the SDK asks for the fields of every module before the first record, and keeps them in a file.
    config = SDKConfig(auto_refresh_fields="AUTO_REFRESH" in os.environ)
    token = OAuthToken(**credentials)
    if "user" in inspect.signature(Initializer.initialize).parameters:
        user = package("crm.api.user_signature").UserSignature("made-up@example.com")
        store = package("api.authenticator.store").FileStore(file_path=os.path.join(os.getcwd(), "tokens.txt"))
        more = {"store": store, "resource_path": os.getcwd()}
        Initializer.initialize(user, environment, token, sdk_config=config, **more)
    else:
        Initializer.initialize(environment, token, sdk_config=config)


def ask(what, **given):
    """Calls what versions of the SDK have in common with the arguments that this one takes."""
    given = {"param_instance": ParameterMap(), "header_instance": HeaderMap(), **given}
    takes = inspect.signature(what).parameters
    return what(**{name: value for name, value in given.items() if name in takes})


def one_of(package, *names):
    """What is named differently in some versions."""
    return next(getattr(package, name) for name in names if hasattr(package, name))


def said(answer, kind, status=200):
    """What Zoho said, which is of this kind."""
    assert answer is not None, "the SDK returned None"
    assert answer.get_status_code() == status, f"{answer.get_status_code()} instead of {status}"
    what = answer.get_object()
    assert isinstance(what, kind), f"{type(what)} instead of {kind}: {vars(what) if what else what}"
    return what


def count():
    operations = territories.TerritoriesOperations()
    kind = territories.AssociatedUsersCountWrapper
    first, second = (said(operations.get_associated_user_count(), kind) for _ in range(2))
    rows = [(row.get_territory().get_name(), row.get_count()) for row in first.get_associated_users_count()]
    assert len(rows) > 1 and all(name and users for name, users in rows), rows
    again = [(row.get_territory().get_name(), row.get_count()) for row in second.get_associated_users_count()]
    assert again == rows, again


def settings():
    listed = said(ask(territories.TerritoriesOperations().get_territories), territories.ResponseWrapper)
    one = listed.get_territories()[0]
    assert one.get_id() and one.get_name() and one.get_created_time(), vars(one)
    listed = said(ask(modules.ModulesOperations().get_modules), modules.ResponseWrapper)
    assert "Leads" in [module.get_api_name() for module in listed.get_modules()]
    module = ParameterMap()
    # Version 2.1 takes the module when the operations are made, and adds it by itself.
    if hasattr(fields.GetFieldsParam, "module"):
        module.add(fields.GetFieldsParam.module, "Leads")
    operations = ask(fields.FieldsOperations, module="Leads")
    listed = said(ask(operations.get_fields, param_instance=module), one_of(fields, "ResponseWrapper", "BodyWrapper"))
    assert "Last_Name" in [field.get_api_name() for field in listed.get_fields()]


def people():
    of_type = ParameterMap()
    try:
        of_type.add(users.GetUsersParam.type, "ActiveUsers")
    except SDKException:
        of_type.add(users.GetUsersParam.type, Choice("ActiveUsers"))
    operations = users.UsersOperations()
    listed = said(ask(operations.get_users, param_instance=of_type), users.ResponseWrapper).get_users()
    assert len(listed) > 1, listed
    user = listed[0].get_id()
    one = said(ask(operations.get_user, id=user, user=user), users.ResponseWrapper)
    assert one.get_users()[0].get_email() == listed[0].get_email()


def done(answer, status=200):
    """The details of the only item that succeeded."""
    (item,) = said(answer, record.ActionWrapper, status).get_data()
    assert isinstance(item, record.SuccessResponse), vars(item)
    return item.get_details()


def wrapped(values):
    lead = record.Record()
    for name, value in values.items():
        lead.add_key_value(name, value)
    body = record.BodyWrapper()
    body.set_data([lead])
    return body


def records():
    leads = {"module_api_name": "Leads"}
    operations = ask(record.RecordOperations, **leads)
    body = wrapped({"Last_Name": "Made-Up", "Email": "made-up@example.com"})
    made = int(done(ask(operations.create_records, request=body, **leads), 201)["id"])

    read = said(ask(operations.get_record, id=made, **leads), record.ResponseWrapper).get_data()[0]
    assert read.get_key_value("Last_Name") == "Made-Up", vars(read)
    body = wrapped({"Last_Name": "Changed & Bénin"})
    done(ask(operations.update_record, id=made, request=body, **leads))
    wanted = ParameterMap()
    wanted.add(record.GetRecordsParam.fields, "Last_Name,Email")
    listed = said(ask(operations.get_records, param_instance=wanted, **leads), record.ResponseWrapper).get_data()
    names = [lead.get_key_value("Last_Name") for lead in listed if lead.get_id() == made]
    assert names == ["Changed & Bénin"], names
    done(ask(operations.delete_record, id=made, **leads))
    gone = ask(operations.get_record, id=made, **leads)
    assert gone is not None and gone.get_status_code() == 204, gone


def downloaded(answer, kind):
    return b"".join(said(answer, kind).get_file().get_stream())


def stored(name, content):
    path = os.path.join(os.getcwd(), name)
    with open(path, "wb") as file:
        file.write(content)
    return StreamWrapper(file_path=path)


def upload():
    content = bytes(range(256)) * 64
    body = files.BodyWrapper()
    body.set_file([stored("made up.bin", content)])
    operations = one_of(files, "FilesOperations", "FileOperations")()
    kept = said(ask(operations.upload_files, request=body), files.ActionWrapper)
    (item,) = kept.get_data()
    assert isinstance(item, files.SuccessResponse), vars(item)
    wanted = ParameterMap()
    wanted.add(files.GetFileParam.id, item.get_details()["id"])
    assert downloaded(operations.get_file(wanted), files.FileBodyWrapper) == content


def bulk():
    module = one_of(modules, "MinifiedModule", "Module")()
    module.set_api_name("Leads")
    query = bulk_read.Query()
    query.set_module(module)
    query.set_fields(["Last_Name"])
    body = one_of(bulk_read, "BodyWrapper", "RequestWrapper")()
    body.set_query(query)
    leads = {"module_api_name": "Leads"}
    operations = ask(record.RecordOperations, **leads)
    done(ask(operations.create_records, request=wrapped({"Last_Name": "Made-Up in bulk"}), **leads), 201)
    operations = bulk_read.BulkReadOperations()
    (begun,) = said(operations.create_bulk_read_job(body), bulk_read.ActionWrapper, 201).get_data()
    assert isinstance(begun, bulk_read.SuccessResponse), vars(begun)
    job = int(begun.get_details()["id"])
    for _ in range(600):
        detail = said(operations.get_bulk_read_job_details(job), bulk_read.ResponseWrapper).get_data()[0]
        if detail.get_state().get_value() == "COMPLETED":
            break
        time.sleep(0.05)
    else:
        raise AssertionError("the job did not end")
    result = downloaded(operations.download_result(job), bulk_read.FileBodyWrapper)
    with zipfile.ZipFile(io.BytesIO(result)) as archive:
        (table,) = (archive.read(name) for name in archive.namelist())
    assert b"Made-Up in bulk" in table, table


def archive():
    """The file of a bulk write, which goes to another of Zoho's hosts and names the organisation."""
    organisation = said(org.OrgOperations().get_organization(), org.ResponseWrapper).get_org()[0]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("Leads.csv", "Last_Name\nMade-Up in bulk\n")
    body = bulk_write.FileBodyWrapper()
    body.set_file(stored("Leads.zip", packed.getvalue()))
    headers = HeaderMap()
    headers.add(bulk_write.UploadFileHeader.feature, "bulk-write")
    headers.add(bulk_write.UploadFileHeader.x_crm_org, str(organisation.get_zgid()))
    operations = bulk_write.BulkWriteOperations()
    uploaded = said(operations.upload_file(body, headers), bulk_write.SuccessResponse)
    assert uploaded.get_details()["file_id"], uploaded.get_details()


def refused():
    """A refusal of the sidecar is to the SDK what an error of Zoho's is, in the place of a download too."""
    file = ParameterMap()
    file.add(files.GetFileParam.id, "made-up")
    upload = files.BodyWrapper()
    upload.set_file([stored("long.bin", bytes(3_000_000))])
    answers = [
        (ask(files.FilesOperations().upload_files, request=upload), files.APIException),
        (ask(territories.TerritoriesOperations().get_territories), territories.APIException),
        (ask(modules.ModulesOperations().get_modules), modules.APIException),
        (ask(files.FilesOperations().get_file, param_instance=file), files.APIException),
    ]
    for answer, kind in answers:
        assert answer is not None, "the SDK returned None"
        error = answer.get_object()
        assert isinstance(error, kind), error
        assert error.get_code().get_value() == os.environ["CODE"], error.get_code().get_value()
        assert error.get_message(), vars(error)
    # Of other kinds the SDK keeps the details only that it knows.
    assert error.get_details()["remedy"], error.get_details()


def no_token():
    """What the sidecar has against a request for a token, its user reads in the SDK's own exception."""
    try:
        begin()
    except Exception as error:
        assert os.environ["CODE"] in str(error), error
        return
    raise AssertionError("a token was got")


SCENARIOS = {
    "count": count,
    "settings": settings,
    "users": people,
    "records": records,
    "files": upload,
    "bulk": bulk,
    "archive": archive,
    "refused": refused,
}

if __name__ == "__main__":
    wanted = sys.argv[1:]
    if wanted == ["no-token"]:
        no_token()
    else:
        begin()
        for name in wanted:
            SCENARIOS[name]()
            print("done:", name)
    trap.check()
