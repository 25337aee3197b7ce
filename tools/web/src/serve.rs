//! Showing the site on this machine.

use std::fs::File;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use tiny_http::{Header, Method, Request, Response, Server};

/// Serves a folder on 127.0.0.1, until the process ends.
pub(crate) fn serve(site: &Path, port: u16) -> Result<()> {
    anyhow::ensure!(site.is_dir(), "{} is not there: run `build` first", site.display());
    let server = Server::http(("127.0.0.1", port)).map_err(|error| anyhow!("port {port}: {error}"))?;
    let address = server.server_addr().to_ip().context("no address")?;
    println!("http://{address}/");
    for request in server.incoming_requests() {
        // A browser that went away is no reason to stop.
        let _ = answer(request, site);
    }
    Ok(())
}

fn answer(request: Request, site: &Path) -> std::io::Result<()> {
    if !matches!(request.method(), Method::Get | Method::Head) {
        return request.respond(Response::empty(405));
    }
    let file = place(request.url(), site).and_then(|path| Some((File::open(&path).ok()?, path)));
    let Some((file, path)) = file else { return request.respond(Response::empty(404)) };
    let mut response = Response::from_file(file);
    for (name, value) in [("Content-Type", media_type(&path)), ("Cache-Control", "no-store")] {
        if let Ok(header) = Header::from_bytes(name, value) {
            response.add_header(header);
        }
    }
    request.respond(response)
}

/// The file of a URL, which must not lead out of the site.
fn place(url: &str, site: &Path) -> Option<PathBuf> {
    let path = url.split(['?', '#']).next().unwrap_or_default().trim_start_matches('/');
    let inside = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let path = site.join(path);
    let path = if path.is_dir() { path.join("index.html") } else { path };
    (inside && path.is_file()).then_some(path)
}

/// Browsers refuse modules and wasm of other types.
fn media_type(path: &Path) -> &'static str {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js" | "mjs") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("wasm") => "application/wasm",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("jpg" | "jpeg") => "image/jpeg",
        Some("webp") => "image/webp",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        Some("ts" | "md" | "txt") => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_the_site_is_served() {
        let site = tempfile::tempdir().unwrap();
        std::fs::create_dir(site.path().join("sub")).unwrap();
        for file in ["index.html", "sub/index.html", "a.js"] {
            std::fs::write(site.path().join(file), "").unwrap();
        }
        for (url, file) in [("/", "index.html"), ("/sub", "sub/index.html"), ("/a.js?x=1", "a.js")] {
            assert_eq!(place(url, site.path()), Some(site.path().join(file)), "{url}");
        }
        for url in ["/../etc/passwd", "/sub/../../etc/passwd", "//etc/passwd", "/missing", "/sub/missing"] {
            assert_eq!(place(url, site.path()), None, "{url}");
        }
    }
}
