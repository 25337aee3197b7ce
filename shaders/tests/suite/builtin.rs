//! Every shader file of the package: embedded, linked, specialised with its defaults, valid.

use std::path::Path;

use foveal_shaders::{ErrorKind, Library, Request, Target};

use crate::support::{specialise, validate};

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

/// The module's default request, once for each way to fill its roles.
fn requests(library: &Library, module: &str) -> Vec<Request> {
    let mut requests = vec![Request::new(module)];
    for role in library.roles(module).unwrap() {
        let with = |request: &Request, filler: &str| request.clone().replace(role.as_str(), filler);
        // A module that fills the role itself stands beside no other that does.
        let of_its_own = library.fillers(&role).any(|filler| filler == module);
        let fillers = || library.fillers(&role).filter(|filler| !of_its_own || *filler == module);
        let all = |request: &Request| fillers().map(|filler| with(request, filler)).collect::<Vec<_>>();
        requests = requests.iter().flat_map(all).collect();
    }
    requests
}

#[test]
fn every_module_specialises_and_validates() {
    let library = Library::builtin();
    for module in library.modules() {
        let mut fitting = 0;
        for request in requests(library, module) {
            // A filler for other kernels: it lacks functions that this one imports.
            if library.tunables_of(&request).is_err_and(|e| e.kind() == ErrorKind::Unresolved) {
                continue;
            }
            fitting += 1;
            for request in [request.clone(), request.unroll(false)] {
                if library.has_entry(module).unwrap() {
                    specialise(library, &request);
                    library.specialise(&request.target(Target::Browser)).unwrap();
                } else {
                    let text = library.specialise_items(&request).unwrap_or_else(|e| panic!("{e}"));
                    validate(&format!("{text}\n@compute @workgroup_size(1) fn check_only_() {{}}\n"));
                }
            }
        }
        // Steps that import from their kernel make sense only there.
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("{module}.wgsl"));
        let is_part = std::fs::read_to_string(path).unwrap().contains("import package::kernel::");
        assert!(fitting > 0 || is_part, "no way to fill the roles of {module}: {:?}", library.roles(module));
    }
}

#[test]
fn no_kernel_keeps_arrays() {
    let library = Library::builtin();
    for module in library.modules().filter(|module| library.has_entry(module).unwrap()) {
        for request in requests(library, module) {
            if let Ok(kernel) = library.specialise(&request) {
                assert!(kernel.arrays_left.is_empty(), "{module}: {:?}", kernel.arrays_left);
            }
        }
    }
}
