//! Promises of `foveal mask`; no adapter has a part in it.
#![expect(clippy::unwrap_used, reason = "tests report by panicking")]

mod common;

use common::{Place, Ran, foveal, words};

fn mask(line: &[&str]) -> Ran {
    foveal(&[&["mask"], line].concat())
}

/// Writes an `.npy` file of 64-bit integers, as NumPy does by default.
fn npy(place: &Place, name: &str, values: &[i64]) -> std::path::PathBuf {
    let mut header = format!("{{'descr': '<i8', 'fortran_order': False, 'shape': ({},), }}", values.len());
    header.push_str(&" ".repeat(63 - (10 + header.len()) % 64));
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
    let path = place.path(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn the_map_shows_the_blocks() {
    let ran = mask(&["causal&(window(31,0))", "--q", "64", "--block", "16"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.starts_with("causal & window(31, 0)\n\n+...\n#+..\n+#+.\n.+#+\n"), "{}", ran.out);
    for part in [
        "3 of 16 blocks, 18.8 %",
        "6 of 16 blocks, 37.5 %",
        "7 of 16 blocks, 43.8 %",
        "a character is a query",
    ] {
        assert!(ran.out.contains(part), "{part} in {}", ran.out);
    }
}

#[test]
fn the_document_counts_blocks_and_elements() {
    let document = mask(&["causal", "--q", "10", "--k", "30", "--block", "4x8", "--json"]).json();
    assert_eq!(document["mask"], "causal");
    assert_eq!(document["block"], serde_json::json!([4, 8]));
    // Query q of 10 sees the keys up to q + 20.
    let visible: usize = (0..10).map(|q| q + 21).sum();
    assert!((document["visible"].as_f64().unwrap() - visible as f64 / 300.0).abs() < 1e-12);
    assert_eq!(document["blocks"], serde_json::json!({"full": 8, "partial": 3, "empty": 1}));
    assert_eq!(document["visited"], 0.92);
    assert_eq!((&document["exact"], &document["per_head"]), (&true.into(), &false.into()));
    assert_eq!(document["lists"].as_array().unwrap().len(), 1);
}

#[test]
fn heads_that_differ_have_lists_of_their_own() {
    let document =
        mask(&["k < 16 * (h + 1)", "--q", "32", "--k", "64", "--block", "16", "--heads", "4", "--json"]);
    let document = document.json();
    let lists = document["lists"].as_array().unwrap();
    let full: Vec<u64> = lists.iter().map(|list| list["blocks"]["full"].as_u64().unwrap()).collect();
    assert_eq!(full, [2, 4, 6, 8]);
    assert_eq!(document["visible"], 0.625);
    let one =
        mask(&["k < 16 * (h + 1)", "--q", "32", "--k", "64", "--block", "16", "--heads", "4", "--head", "2"]);
    assert!(one.out.contains("head 2\n###.\n###.\n"), "{}", one.out);
}

#[test]
fn tables_are_read_and_looked_at_element_by_element() {
    let place = Place::new();
    let documents: Vec<i64> = (0..64).map(|i| i / 16).collect();
    let table = format!("doc={}", npy(&place, "any.npy", &documents).display());
    let ran = mask(&["same(doc)", "--q", "64", "--block", "16", "--table", &table]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(
        ran.out.contains("#...\n.#..\n..#.\n...#\n") && ran.out.contains("16 blocks took a look"),
        "{}",
        ran.out
    );
    let named = npy(&place, "doc.npy", &documents);
    let same = foveal(&words(&[
        &"mask",
        &"same(doc)",
        &"--q",
        &"64",
        &"--block",
        &"16",
        &"--input",
        &named,
        &"--json",
    ]));
    assert_eq!(same.json()["blocks"]["full"], 4);
    mask(&["same(doc)", "--q", "64"]).refused(&["table `doc`", "--table doc=FILE.npy"]);
    mask(&["same(doc)", "--q", "65", "--table", &table]).refused(&["doc", "64"]);
    mask(&["causal", "--q", "64", "--table", "doc"]).refused(&["--table", "NAME=FILE", "doc"]);
    let large = format!("doc={}", npy(&place, "large.npy", &[1 << 40]).display());
    mask(&["same(doc)", "--q", "1", "--table", &large]).refused(&["table `doc`", "at 0", "1099511627776"]);
}

#[test]
fn mistakes_are_pointed_at() {
    let ran = mask(&["causal & windw(3, 0)", "--q", "64"]);
    ran.refused(&["mask: column 10", "did you mean `window`?"]);
    assert!(ran.err.ends_with("  causal & windw(3, 0)\n           ^\n"), "{}", ran.err);
    let document = mask(&["causal & windw(3, 0)", "--q", "64", "--json"]);
    assert_eq!(document.code, 2);
    assert!(document.json()["error"].as_str().is_some_and(|error| error.contains("column 10")));
    mask(&["causal"]).refused(&["--q"]);
    mask(&["causal", "--q", "0"]).refused(&["--q", "0"]);
    mask(&["causal", "--q", "64", "--block", "8x"]).refused(&["--block", "N or QxK", "8x"]);
    mask(&["causal", "--q", "64", "--heads", "4", "--kv-heads", "3"]).refused(&[
        "--kv-heads",
        "divisor",
        "3",
    ]);
    mask(&["causal", "--q", "64", "--heads", "4", "--head", "4"]).refused(&["--head", "0 to 3", "4"]);
    mask(&["q + k", "--q", "64"]).refused(&["mask: column", "bool"]);
    mask(&["causal", "--q", "64", "--png", "/nonexistent/mask.png"]).refused(&["/nonexistent/mask.png"]);
}

#[test]
fn the_picture_is_drawn_alike_each_time_and_only_if_all_is_well() {
    let place = Place::new();
    let png = place.path("mask.png");
    let line = |more: &[&str]| {
        let mut line =
            words(&[&"mask", &"disc(16, 4) & h < k", &"--q", &"256", &"--heads", &"3", &"--png", &png]);
        line.extend(more.iter().map(|word| (*word).to_owned()));
        foveal(&line)
    };
    assert_eq!(line(&[]).code, 0);
    let bytes = std::fs::read(&png).unwrap();
    assert!(bytes.starts_with(b"\x89PNG"));
    assert_eq!(line(&["--json"]).json()["png"], png.display().to_string());
    assert_eq!(std::fs::read(&png).unwrap(), bytes);
    assert_eq!(place.names(), ["mask.png"]);
    std::fs::remove_file(&png).unwrap();
    line(&["--head", "3"]).refused(&["--head"]);
    assert!(place.names().is_empty());
}

#[test]
fn long_masks_answer_soon() {
    let document = mask(&["causal & window(1023, 0)", "--q", "65536", "--json"]).json();
    assert_eq!(document["map"].as_array().unwrap().len(), 33);
    assert!(document["classes_us"].as_f64().unwrap() < 1e6, "{document}");
    // Far more elements than are looked at: the share of visible ones is an estimate, and near.
    let document = mask(&["(q % 7) * (k % 7) % 7 < 3", "--q", "65536", "--json"]).json();
    assert_eq!(document["exact"], false);
    let residues = (0..49).filter(|i| (i / 7 * (i % 7)) % 7 < 3).count();
    assert!((document["visible"].as_f64().unwrap() - residues as f64 / 49.0).abs() < 0.02, "{document}");
}
