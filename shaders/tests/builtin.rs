//! Every shader file of the package: embedded, linked, specialised with its defaults, valid.

mod support;

use std::path::Path;

use foveal_shaders::{Library, Request, Target};

fn wgsl_files(folder: &Path, root: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            wgsl_files(&path, root, found);
        } else if path.extension().is_some_and(|e| e == "wgsl") {
            let name = path.strip_prefix(root).unwrap().with_extension("");
            found.push(name.iter().map(|p| p.to_str().unwrap()).collect::<Vec<_>>().join("/"));
        }
    }
}

#[test]
fn every_file_is_embedded() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("src") && !path.ends_with("tests") && !path.ends_with("target") {
            wgsl_files(&path, root, &mut found);
        }
    }
    found.sort();
    assert_eq!(Library::builtin().modules().collect::<Vec<_>>(), found);
}

#[test]
fn every_module_specialises_and_validates() {
    let library = Library::builtin();
    for module in library.modules() {
        for unroll in [true, false] {
            let request = Request::new(module).unroll(unroll);
            if library.has_entry(module).unwrap() {
                support::specialise(library, &request);
                library.specialise(&request.target(Target::Browser)).unwrap();
            } else {
                let text = library.specialise_items(&request).unwrap_or_else(|e| panic!("{e}"));
                support::validate(&format!("{text}\n@compute @workgroup_size(1) fn check_only_() {{}}\n"));
            }
        }
    }
}
