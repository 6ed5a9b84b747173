//! Errors as clients see them: `application/problem+json` (RFC 9457), all errors of a request at once, each with its
//! place and a stable code.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::{HeaderValue, Response, StatusCode, header};
use corollary_engine::{EngineError, Refusal};
use corollary_store::StoreError;
use serde_json::{Value as Json, json};

use crate::http::reader::NOT_GRANTED;
use crate::path::PathError;

/// The code of what was not done because the schema was replaced before.
pub const SUPERSEDED: &str = "superseded";

/// A reply that is an error.
#[derive(Clone, Debug)]
pub struct Problem {
    /// The status.
    pub status: StatusCode,
    /// A stable name.
    pub code: &'static str,
    /// One sentence.
    pub detail: String,
    /// The single errors, where there are places to name.
    pub errors: Vec<Refusal>,
    /// The methods that would be allowed, for 405.
    pub allow: Option<Cow<'static, str>>,
    /// Seconds after which to try again, for 503.
    pub retry_after_s: Option<u32>,
}

impl Problem {
    /// An error without places.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Problem {
        Problem { status, code, detail: detail.into(), errors: Vec::new(), allow: None, retry_after_s: None }
    }

    /// 400.
    pub fn malformed(code: &'static str, detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, code, detail)
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not-found", detail)
    }

    /// 405.
    pub fn not_allowed(allow: impl Into<Cow<'static, str>>) -> Problem {
        let allow = allow.into();
        let detail = format!("allowed here: {allow}");
        let problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", detail);
        Problem { allow: Some(allow), ..problem }
    }

    /// 503.
    pub fn unavailable(detail: impl Into<String>) -> Problem {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail);
        Problem { retry_after_s: Some(1), ..problem }
    }

    /// What the rules refuse.
    pub fn refused(errors: Vec<Refusal>) -> Problem {
        let first = errors.first();
        let code = first.map_or("invalid", |refusal| refusal.code);
        let status = match code {
            "not-found" => StatusCode::NOT_FOUND,
            "exists" | "unique" | "restrict" | "move-cycle" => StatusCode::CONFLICT,
            "precondition" => StatusCode::PRECONDITION_FAILED,
            NOT_GRANTED => StatusCode::FORBIDDEN,
            "reply-limit" => StatusCode::PAYLOAD_TOO_LARGE,
            "scan-limit" | "sort-limit" | "expand-limit" | "watch-limit" | "value-limit" => {
                StatusCode::BAD_REQUEST
            }
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let detail = match (errors.len(), first) {
            (1, Some(refusal)) => refusal.message.clone(),
            (n, _) => format!("{n} errors"),
        };
        Problem { errors, ..Problem::new(status, code, detail) }
    }

    /// Its JSON.
    pub fn to_json(&self) -> Json {
        let mut json = json!({
            "type": format!("urn:corollary:problem:{}", self.code),
            "title": self.status.canonical_reason().unwrap_or("Error"),
            "status": self.status.as_u16(),
            "code": self.code,
            "detail": self.detail,
        });
        if !self.errors.is_empty() {
            let errors = self.errors.iter().map(|refusal| {
                let mut error = json!({"code": refusal.code, "message": refusal.message});
                if let Some(path) = &refusal.path {
                    // A parameter of the query stands by itself, as "?limit".
                    error["path"] =
                        if path.starts_with('?') { path.clone() } else { format!("/{path}") }.into();
                }
                if let Some(write) = refusal.write {
                    error["item"] = write.into();
                }
                error
            });
            json["errors"] = errors.collect();
        }
        json
    }

    /// Its reply.
    pub fn response(&self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.to_json().to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(allow) = self.allow.as_deref().and_then(|allow| HeaderValue::from_str(allow).ok()) {
            headers.insert(header::ALLOW, allow);
        }
        if let Some(seconds) = self.retry_after_s {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<EngineError> for Problem {
    fn from(error: EngineError) -> Problem {
        match error {
            EngineError::Refused(errors) => Problem::refused(errors),
            EngineError::Store(StoreError::TooLarge { .. }) => {
                Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", error.to_string())
            }
            EngineError::Store(StoreError::Unsupported { .. }) => {
                Problem::new(StatusCode::NOT_IMPLEMENTED, "unsupported", error.to_string())
            }
            EngineError::Superseded => Problem {
                code: SUPERSEDED,
                ..Problem::unavailable("the schema has been replaced meanwhile: try again")
            },
            EngineError::Store(_) | EngineError::Contended => Problem::unavailable(error.to_string()),
            EngineError::Corrupt(_) | EngineError::Moved | EngineError::Unsettled | EngineError::Awaited => {
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string())
            }
        }
    }
}

impl From<PathError> for Problem {
    fn from(error: PathError) -> Problem {
        match error {
            PathError::NotFound(message) => Problem::not_found(message),
            PathError::Ambiguous(message) => Problem::new(StatusCode::CONFLICT, "ambiguous-id", message),
            PathError::Malformed(message) => Problem::malformed("path", message),
            PathError::Pending(message) => Problem { code: "pending", ..Problem::unavailable(message) },
            PathError::Engine(error) => error.into(),
        }
    }
}

impl From<Vec<Refusal>> for Problem {
    fn from(errors: Vec<Refusal>) -> Problem {
        Problem::refused(errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_store_cannot_do_is_told_by_name() {
        let missing = StoreError::Unsupported { feature: "backup".into() };
        let problem = Problem::from(EngineError::from(missing));
        assert_eq!((problem.status, problem.code), (StatusCode::NOT_IMPLEMENTED, "unsupported"));
        assert!(problem.detail.contains("does not support backup"), "{}", problem.detail);
    }
}
