//! The page that people look at: files that are compiled in, and served as they are.
//!
//! Its documents have the paths of what they show. A browser that asks for `/orders/A123` wants
//! HTML and gets the page, which then asks for the JSON of the same path.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, Method, header};
use axum::response::{IntoResponse, Response};
use quadrille::service::problem::Problem;
use uuid::Uuid;

use crate::view::View;

/// Name, content type and content.
type File = (&'static str, &'static str, &'static str);

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

/// What the page consists of, besides its one document.
pub(crate) const FILES: &[File] = &[
    ("app.js", SCRIPT, include_str!("../page/app.js")),
    ("api.js", SCRIPT, include_str!("../page/api.js")),
    ("dom.js", SCRIPT, include_str!("../page/dom.js")),
    ("live.js", SCRIPT, include_str!("../page/live.js")),
    ("commands.js", SCRIPT, include_str!("../page/commands.js")),
    ("home.js", SCRIPT, include_str!("../page/home.js")),
    ("flow.js", SCRIPT, include_str!("../page/flow.js")),
    ("list.js", SCRIPT, include_str!("../page/list.js")),
    ("one.js", SCRIPT, include_str!("../page/one.js")),
    ("story.js", SCRIPT, include_str!("../page/story.js")),
    ("step.js", SCRIPT, include_str!("../page/step.js")),
    ("act.js", SCRIPT, include_str!("../page/act.js")),
    ("page.css", STYLE, include_str!("../page/page.css")),
    ("icon.svg", PICTURE, include_str!("../page/icon.svg")),
];

const DOCUMENT: &str = include_str!("../page/index.html");

/// Nothing from elsewhere, nothing inline, no text that becomes markup, and in no frame.
pub(crate) const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; \
    frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'";

/// Names the content of all files, so that a browser may keep them for ever.
pub(crate) static VERSION: LazyLock<String> = LazyLock::new(|| {
    let mut all = Vec::new();
    for (name, _, content) in FILES {
        all.extend_from_slice(name.as_bytes());
        all.extend_from_slice(content.as_bytes());
    }
    Uuid::new_v5(&Uuid::NAMESPACE_OID, &all).simple().to_string()
});

static SHELL: LazyLock<String> =
    LazyLock::new(|| DOCUMENT.replace("{assets}", &format!("/assets/{}", *VERSION)));

/// Whether a browser asks for a document that the page shows.
pub(crate) fn is_wanted(method: &Method, path: &str, headers: &HeaderMap, view: &View) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let is_browser = accepts.flat_map(|text| text.split(',')).any(|kind| {
        kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("text/html"))
    });
    let segments: Vec<_> = path.trim_matches('/').split('/').collect();
    let is_shown = match segments.as_slice() {
        ["" | "find" | "place"] | ["steps", _] => true,
        [many] | [many, _] | [many, _, "events", _] => *many == view.many,
        _ => false,
    };
    is_browser && is_shown && (method == Method::GET || method == Method::HEAD)
}

/// The one document. It holds nothing of the log, so it needs no token.
pub(crate) fn shell() -> Response {
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    let mut response = SHELL.as_str().into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// One file, under the name that its content has now.
pub(crate) async fn asset(
    Path((version, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let file = FILES.iter().find(|(file, ..)| *file == name).filter(|_| version == *VERSION);
    let Some((_, kind, content)) = file else {
        let detail = "the page is of another version; load it again";
        return Err(Problem::new(404, "no-such-asset", "no such file", detail));
    };
    let mut response = content.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    let for_ever = HeaderValue::from_static("public, max-age=31536000, immutable");
    headers.insert(header::CACHE_CONTROL, for_ever);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::orders::ORDERS;

    /// Bytes, compressed.
    const MOST: usize = 80 * 1024;

    #[test]
    fn the_whole_page_is_small() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("page");
        let all = FILES.iter().map(|(_, _, content)| *content).chain([DOCUMENT]);
        std::fs::write(&file, all.collect::<String>()).unwrap();
        let gzip = std::process::Command::new("gzip").arg("-c").arg(&file).output().unwrap();
        assert!(gzip.status.success() && gzip.stdout.len() > 10_000, "{gzip:?}");
        assert!(gzip.stdout.len() < MOST, "{} bytes", gzip.stdout.len());
    }

    #[test]
    fn nothing_is_inline_and_nothing_is_from_elsewhere() {
        for part in DOCUMENT.split("<script").skip(1) {
            let (tag, rest) = part.split_once('>').unwrap();
            assert!(tag.contains("src=\"{assets}/"), "<script{tag}>");
            assert!(rest.starts_with("</script>"), "{rest}");
        }
        assert!(!DOCUMENT.contains("<style") && !DOCUMENT.contains("style="), "{DOCUMENT}");
        assert!(!DOCUMENT.contains(" on"), "an event attribute: {DOCUMENT}");
        for (name, kind, content) in FILES {
            let names = content.replace("http://www.w3.org/", "");
            assert!(!names.contains("http://") && !names.contains("https://"), "{name}");
            let raw = ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("];
            assert!(!raw.iter().any(|raw| content.contains(raw)), "{name}");
            if *kind != SCRIPT {
                continue;
            }
            for line in content.lines().filter(|line| line.starts_with("import ")) {
                let file = line.split('\'').nth(1).and_then(|from| from.strip_prefix("./"));
                assert!(FILES.iter().any(|(known, ..)| Some(*known) == file), "{name}: {line}");
            }
        }
    }

    #[test]
    fn only_a_browser_that_asks_for_a_document_gets_it() {
        let accepts = |text: &'static str| {
            HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(text))])
        };
        let browser = accepts("text/html,application/xhtml+xml,*/*;q=0.8");
        let wanted = |path, headers: &_| is_wanted(&Method::GET, path, headers, &ORDERS);
        for path in ["/", "/orders", "/orders/A123", "/orders/A123/events/7", "/steps/ship-order"] {
            assert!(wanted(path, &browser), "{path}");
            assert!(!wanted(path, &accepts("*/*")), "{path}");
            assert!(!is_wanted(&Method::POST, path, &browser, &ORDERS), "{path}");
        }
        for path in ["/openapi.json", "/events", "/trips", "/orders/A/events", "/steps"] {
            assert!(!wanted(path, &browser), "{path}");
        }
    }
}
