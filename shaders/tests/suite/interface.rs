//! Reports beside the text: tunables, target lines, layouts, fingerprints.

use foveal_shaders::{BindingKind, Library, Request, Target, Value, ValueType};

use crate::support::{library, specialise, validate};

#[test]
fn tunables_are_listed_with_defaults() {
    let text = crate::passes::kernel("data[0] = EPSILON;");
    let library = library(&[("test/kernel", &text)]);
    let tunables: Vec<_> =
        library.tunables("test/kernel").unwrap().into_iter().map(|t| (t.name, t.ty, t.default)).collect();
    let expected = [
        ("EPSILON", ValueType::F32, Value::F32(0.5)),
        ("N", ValueType::U32, Value::U32(4)),
        ("ON", ValueType::Bool, Value::Bool(true)),
        ("SIGNED", ValueType::I32, Value::I32(-3)),
        ("UNROLL_N", ValueType::U32, Value::U32(3)),
    ];
    assert_eq!(tunables, expected.map(|(n, t, v)| (n.to_owned(), t, v)));
    let set = specialise(&library, &Request::new("test/kernel").tunable("EPSILON", -1e-30f32));
    assert!(set.text.contains("const EPSILON: f32 = (-1e-30f);"), "{}", set.text);
}

#[test]
fn targets_differ_in_the_lines_they_need() {
    let library = library(&[(
        "a",
        "@group(0) @binding(0) var<storage, read_write> o: array<f32>;
         @compute @workgroup_size(32) fn main(@builtin(subgroup_size) size: u32) { o[size] = subgroupAdd(o[0]); }",
    )]);
    let native = specialise(&library, &Request::new("a"));
    assert!(native.interface.uses_subgroups && !native.text.contains("enable"));
    let browser = library.specialise(&Request::new("a").target(Target::Browser)).unwrap();
    assert!(browser.text.starts_with("enable subgroups;\n"));
    // A variable's name is not a use.
    let plain = crate::support::library(&[(
        "a",
        "@group(0) @binding(0) var<storage, read_write> o: array<f32>;
         @compute @workgroup_size(1) fn main(@builtin(local_invocation_index) subgroupId: u32) { o[subgroupId] = 1.0; }",
    )]);
    assert!(!specialise(&plain, &Request::new("a")).interface.uses_subgroups);
}

#[test]
fn uniform_layouts_follow_wgsl() {
    let library = library(&[(
        "a",
        "struct Inner { a: vec3f, b: f32 }
         struct Params { n: u32, at: vec3<i32>, inner: Inner, rows: array<vec4u, 2>, @align(32) last: vec2f, m: mat2x3<f32> }
         @group(0) @binding(0) var<uniform> params: Params;
         @group(1) @binding(2) var<uniform> scale: f32;
         @group(0) @binding(1) var<storage, read_write> o: array<f32>;
         var<workgroup> tile: array<vec3f, 5>;
         var<workgroup> flag: atomic<u32>;
         var<workgroup> unused: array<f32, 100>;
         @compute @workgroup_size(1) fn main() {
             tile[0] = params.inner.a; atomicAdd(&flag, params.n);
             o[0] = scale + params.last.x + tile[1].x + params.m[0].x;
         }",
    )]);
    let interface = specialise(&library, &Request::new("a")).interface;
    let BindingKind::Uniform(layout) = &interface.bindings[0].kind else { panic!("{interface:?}") };
    let fields: Vec<_> =
        layout.fields.iter().map(|f| (f.name.as_str(), f.offset_bytes, f.scalar, f.components)).collect();
    use ValueType::{F32, I32, U32};
    assert_eq!(
        fields,
        [
            ("n", 0, U32, 1),
            ("at", 16, I32, 3),
            ("inner.a", 32, F32, 3),
            ("inner.b", 44, F32, 1),
            ("rows[0]", 48, U32, 4),
            ("rows[1]", 64, U32, 4),
            ("last", 96, F32, 2),
            ("m[0]", 112, F32, 3),
            ("m[1]", 128, F32, 3),
        ]
    );
    assert_eq!(layout.size_bytes, 160);
    let BindingKind::Uniform(scalar) = &interface.bindings[2].kind else { panic!("{interface:?}") };
    assert_eq!((scalar.size_bytes, scalar.fields[0].name.as_str()), (4, "scale"));
    // 5 vectors of 16 bytes, and 4 bytes rounded up to 16.
    assert_eq!(interface.workgroup_bytes, 96);
}

#[test]
fn layouts_agree_with_naga() {
    let text = "struct Params { a: f32, b: vec3f, c: vec2u, d: array<vec4f, 3>, e: mat3x2f, f: u32 }
         @group(0) @binding(0) var<uniform> params: Params;
         @group(0) @binding(1) var<storage, read_write> o: array<f32>;
         @compute @workgroup_size(1) fn main() { o[0] = params.a; }";
    let kernel = specialise(&library(&[("a", text)]), &Request::new("a"));
    let BindingKind::Uniform(layout) = &kernel.interface.bindings[0].kind else { panic!("{kernel:?}") };
    let module = validate(&kernel.text);
    let (_, ty) = module.types.iter().find(|(_, ty)| ty.name.as_deref() == Some("Params")).unwrap();
    let naga::TypeInner::Struct { members, span } = &ty.inner else { panic!("{ty:?}") };
    assert_eq!(*span, layout.size_bytes);
    for member in members {
        let name = member.name.as_deref().unwrap();
        let first = layout.fields.iter().find(|f| f.name.split('[').next() == Some(name)).unwrap();
        assert_eq!(first.offset_bytes, member.offset, "{name}");
    }
}

#[test]
fn fingerprints_are_stable() {
    let request =
        Request::new("a").tunable("X", 1u32).tunable("Y", 0.5f32).replace("b", "c").hook("hook_d", "text");
    let reordered =
        Request::new("a").tunable("Y", 0.5f32).tunable("X", 1u32).replace("b", "c").hook("hook_d", "text");
    assert_eq!(request.fingerprint(), reordered.fingerprint());
    // Written down so that a change of the scheme is noticed: caches on disk depend on it.
    assert_eq!(format!("{:032x}", Request::new("a").fingerprint()), "11bb537c87da4af8b48b38ee0ded2747");
    let others = [
        Request::new("a"),
        request.clone().unroll(false),
        request.clone().target(Target::Browser),
        Request::new("a").tunable("X", 1i32).tunable("Y", 0.5f32).replace("b", "c").hook("hook_d", "text"),
    ];
    assert!(others.iter().all(|other| other.fingerprint() != request.fingerprint()));
    assert_ne!(
        Request::new("a").replace("b", "c").fingerprint(),
        Request::new("a").hook("b", "c").fingerprint()
    );
}

#[test]
fn libraries_and_requests_can_be_shared() {
    fn shared<T: Send + Sync>() {}
    shared::<Library>();
    shared::<Request>();
    shared::<foveal_shaders::Error>();
}
