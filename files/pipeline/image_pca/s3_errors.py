"""What an error of S3, of the network or of the credentials means, and what to do about it."""

from __future__ import annotations

from typing import NamedTuple

from botocore import exceptions as boto
from botocore.exceptions import ClientError

from .errors import JobError
from .storage import StorageSpec


class Advice(NamedTuple):
    """Why it happens and what to do; {action}, {url}, {bucket}, {endpoint} and {region} are filled in."""

    what: str
    why: str
    todo: str


THE_KEYS = "aws_access_key_id and aws_secret_access_key"

LATER = ("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "503", "500", "502", "504", "429")

WRONG_REGION = Advice(
    "The bucket is in another region",
    "The store does not serve this bucket to region {region}.",
    "Set aws_region to the region in which the bucket was made.",
)
UNKNOWN_KEY = Advice(
    "The access key is not known",
    "The store at {endpoint} knows no such access key id.",
    f"Check {THE_KEYS}: are they of this store, and still active?",
)
EXPIRED = Advice(
    "The credentials have expired",
    "The store no longer accepts the session token.",
    "Get new credentials, or use long-lived keys or a role, and run again.",
)
DENIED = Advice(
    "A right is missing",
    "The store refuses the action {action} to this access key.",
    "Let the key's policy allow {action} there (files/policies holds the policy that the job needs).",
)
BUSY = Advice(
    "The store is overloaded",
    "It kept answering with {code} although the request was sent several times.",
    "Run the job again later; finished work is kept.",
)

BY_CODE: dict[str, Advice] = {
    "NoSuchBucket": Advice(
        "The bucket is not there",
        "The store at {endpoint} knows no bucket {bucket}.",
        "Check the name, or create the bucket first.",
    ),
    "InvalidAccessKeyId": UNKNOWN_KEY,
    "InvalidClientTokenId": UNKNOWN_KEY,
    "XAdminUserNotFound": UNKNOWN_KEY,  # versitygw's word for it
    "SignatureDoesNotMatch": Advice(
        "The secret key is wrong",
        "The signature, made with the secret access key, does not fit the access key id.",
        f"Check {THE_KEYS}: they belong together.",
    ),
    "AccessDenied": DENIED,
    "AllAccessDisabled": DENIED,
    "403": DENIED,
    "RequestTimeTooSkewed": Advice(
        "The clock is wrong",
        "The time of this host differs too much from the store's, so that it refuses all signatures.",
        "Set the clock of this host (chrony or systemd-timesyncd) and run again.",
    ),
    "ExpiredToken": EXPIRED,
    "ExpiredTokenException": EXPIRED,
    "InvalidToken": EXPIRED,
    "AuthorizationHeaderMalformed": WRONG_REGION,
    "PermanentRedirect": WRONG_REGION,
    "301": WRONG_REGION,
    "IllegalLocationConstraintException": WRONG_REGION,
    "EntityTooLarge": Advice(
        "An object is too large",
        "The store refuses an object of that size in one request.",
        "Use fewer images a run, or fewer components.",
    ),
    "QuotaExceeded": Advice("The store is full", "Its quota is used up.", "Free some space in the bucket and run again."),
    "NotImplemented": Advice(
        "The store lacks a feature",
        "It does not implement {action} as the job asks for it (conditional writes: If-None-Match, If-Match).",
        "Use AWS S3 or a store that has conditional writes.",
    ),
}

NO_CREDENTIALS = Advice(
    "No credentials were found",
    "Neither the environment, nor ~/.aws, nor a role of this host gives an access key.",
    f"Set {THE_KEYS} in the inventory and run site.yml, or give the host a role.",
)
UNREACHABLE = Advice(
    "The store cannot be reached",
    "{detail}",
    "Check s3_endpoint_url, the network and the firewall between this host and {endpoint}.",
)


def code_of(error: ClientError) -> str:
    """The store's error code; the HTTP status where it sent none."""
    response = error.response
    code = str(response.get("Error", {}).get("Code") or "")
    return code or str(response.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))


def explain(error: Exception, spec: StorageSpec, key: str, action: str) -> JobError:
    """The JobError for an error that boto3 raised during `action` on `key`."""
    if isinstance(error, JobError):
        return error
    url = f"{spec.root}/{key}" if key else spec.root
    code = ""
    if isinstance(error, ClientError):
        code = code_of(error)
        advice = BUSY if code in LATER else BY_CODE.get(code)
    elif isinstance(error, (boto.NoCredentialsError, boto.CredentialRetrievalError, boto.PartialCredentialsError)):
        advice = NO_CREDENTIALS
    elif isinstance(error, (boto.HTTPClientError, boto.ConnectionError, OSError)):
        advice = UNREACHABLE
    else:
        advice = None
    if advice is None:
        advice = Advice(
            "The store gave an error that is not foreseen",
            "During {action}: {detail}",
            "See the log for the whole of it; check the settings of the store and the credentials.",
        )
    words = {
        "action": action,
        "url": url,
        "bucket": spec.root[len("s3://") :],
        "endpoint": spec.endpoint_url or "AWS",
        "region": spec.region or "(none)",
        "code": code,
        "detail": " ".join(str(error).split()).rstrip(".") + ".",
    }
    return JobError(advice.what, url, advice.why.format(**words), advice.todo.format(**words))
