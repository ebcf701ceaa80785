//! The wire contract: our proto files and error table against the tables of etcd 3.7.1.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet};

use crate::table;

fn descriptors() -> FileDescriptorSet {
    FileDescriptorSet::decode(api::pb::DESCRIPTORS).expect("the committed descriptor set decodes")
}

/// Calls back with the package and the full name inside it of each message and enum.
fn walk(
    each_message: &mut dyn FnMut(&FileDescriptorProto, &str, &DescriptorProto),
    each_enum: &mut dyn FnMut(&str, &str, &EnumDescriptorProto),
) {
    for file in &descriptors().file {
        let package = file.package();
        for item in &file.enum_type {
            each_enum(package, item.name(), item);
        }
        for message in &file.message_type {
            each_message(file, message.name(), message);
            for inner in &message.nested_type {
                each_message(file, &format!("{}.{}", message.name(), inner.name()), inner);
            }
            for inner in &message.enum_type {
                each_enum(package, &format!("{}.{}", message.name(), inner.name()), inner);
            }
        }
    }
}

#[test]
fn every_field_is_etcds() {
    let expected: BTreeSet<String> = table(
        "proto-fields.tsv",
        ["package", "message", "field", "number", "type", "label", "oneof", "json_name"],
    )
    .into_iter()
    // versionpb holds options for Go's own build, which nobody sends.
        .filter(|row| row[0] != "versionpb")
        .map(|row| row.join(" "))
    .collect();
    let mut ours = BTreeSet::new();
    walk(
        &mut |file, name, message| {
            let package = file.package();
            if package == "grpc.health.v1" {
                return;
            }
            for field in &message.field {
                let kind = match field.r#type() {
                    Type::Message | Type::Enum => field.type_name().trim_start_matches('.').to_owned(),
                    scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
                };
                let oneof = field.oneof_index.map_or("", |index| message.oneof_decl[index as usize].name());
                // proto2 writes "optional" out; in proto3 a plain field has no presence.
                let label = match field.label() {
                    Label::Repeated => "repeated",
                    Label::Required => "required",
                    Label::Optional if file.syntax() != "proto3" => "optional",
                    Label::Optional => "singular",
                };
                ours.insert(
                    [
                        package,
                        name,
                        field.name(),
                        &field.number().to_string(),
                        &kind,
                        label,
                        oneof,
                        field.json_name(),
                    ]
                    .join(" "),
                );
            }
        },
        &mut |_, _, _| {},
    );
    let missing: Vec<_> = expected.difference(&ours).collect();
    let extra: Vec<_> = ours.difference(&expected).collect();
    assert!(missing.is_empty() && extra.is_empty(), "missing: {missing:#?}\nextra: {extra:#?}");
}

#[test]
fn every_enum_value_is_etcds() {
    let expected: BTreeSet<String> = table("proto-enums.tsv", ["package", "enum", "value", "number"])
        .into_iter()
        .map(|row| row.join(" "))
        .collect();
    let mut ours = BTreeSet::new();
    walk(&mut |_, _, _| {}, &mut |package, name, item| {
        for value in &item.value {
            ours.insert(format!("{package} {name} {} {}", value.name(), value.number()));
        }
    });
    ours.retain(|line| !line.starts_with("grpc.health.v1 "));
    assert_eq!(expected, ours);
}

#[test]
fn every_method_is_etcds() {
    let expected: BTreeSet<String> = table("grpc-services.tsv", ["grpc_path", "request", "response", "streaming"])
        .into_iter()
        .map(|row| row.join(" "))
        .collect();
    let mut ours = BTreeSet::new();
    for file in &descriptors().file {
        for service in &file.service {
            for method in &service.method {
                let streaming = match (method.client_streaming(), method.server_streaming()) {
                    (true, true) => "bidi_stream",
                    (false, true) => "server_stream",
                    (true, false) => "client_stream",
                    (false, false) => "unary",
                };
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                let short = |name: &str| name.trim_start_matches('.').to_owned();
                ours.insert([path, short(method.input_type()), short(method.output_type()), streaming.to_owned()].join(" "));
            }
        }
    }
    assert_eq!(expected, ours);
}

#[test]
fn every_error_is_etcds() {
    let mut rows = BTreeMap::new();
    for [kind, identifier, code, message] in table("errors.tsv", ["kind", "go_identifier", "code_name", "message"]) {
        if kind == "grpc" {
            rows.insert(identifier.trim_start_matches("ErrGRPC").to_owned(), (code, message));
        }
    }
    let ours: BTreeMap<_, _> = api::Error::ALL
        .iter()
        .map(|error| (error.name().to_owned(), (format!("{:?}", error.code()), error.message().to_owned())))
        .collect();
    assert_eq!(rows, ours);
}
