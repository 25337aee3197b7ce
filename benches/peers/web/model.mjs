// An ONNX model of one node, com.microsoft.MultiHeadAttention: the part of ONNX's protobuf schema that it takes
// (github.com/onnx/onnx, onnx.proto).

import protobuf from "protobufjs";

const schema = `
  syntax = "proto2";
  message Model { optional int64 ir_version = 1; repeated OperatorSet opset_import = 8; optional Graph graph = 7; }
  message OperatorSet { optional string domain = 1; optional int64 version = 2; }
  message Graph { repeated Node node = 1; optional string name = 2; repeated Value input = 11; repeated Value output = 12; }
  message Node {
    repeated string input = 1; repeated string output = 2; optional string op_type = 4; repeated Attribute attribute = 5;
    optional string domain = 7;
  }
  message Attribute { optional string name = 1; optional float f = 2; optional int64 i = 3; optional int32 type = 20; }
  message Value { optional string name = 1; optional Type type = 2; }
  message Type { optional Tensor tensor_type = 1; }
  message Tensor { optional int32 elem_type = 1; optional Shape shape = 2; }
  message Shape { repeated Dimension dim = 1; }
  message Dimension { optional int64 dim_value = 1; }
`;

const FLOAT = 1;
const INT = 2;

/** The bytes of a model that takes q, k and v of `shape` [B, T, H * D], f32, and gives o. */
export function multiHeadAttention(shape, heads) {
  const Model = protobuf.parse(schema, { keepCase: true }).root.lookupType("Model");
  const value = (name) => ({
    name,
    type: { tensor_type: { elem_type: FLOAT, shape: { dim: shape.map((dim_value) => ({ dim_value })) } } },
  });
  const model = {
    ir_version: 8,
    opset_import: [{ domain: "", version: 17 }, { domain: "com.microsoft", version: 1 }],
    graph: {
      name: "attention",
      node: [{
        op_type: "MultiHeadAttention",
        domain: "com.microsoft",
        input: ["q", "k", "v"],
        output: ["o"],
        attribute: [{ name: "num_heads", i: heads, type: INT }],
      }],
      input: ["q", "k", "v"].map(value),
      output: [value("o")],
    },
  };
  const wrong = Model.verify(model);
  if (wrong) throw new Error(wrong);
  return Model.encode(Model.create(model)).finish();
}
