//! Names, numbers and kinds of every message, read once from the descriptors into compact tables.

use std::collections::HashMap;
use std::sync::OnceLock;

use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// A message type: an index into the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageType(pub(super) u16);

/// The types of a gRPC method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method {
    pub request: MessageType,
    pub answer: MessageType,
    pub client_streams: bool,
    pub server_streams: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    String,
    Bytes,
    Enum(u16),
    Message(u16),
}

impl Kind {
    /// As protobuf spells it, for error texts.
    pub(super) fn name(self) -> &'static str {
        match self {
            Kind::Bool => "bool",
            Kind::Int32 => "int32",
            Kind::Int64 => "int64",
            Kind::Uint32 => "uint32",
            Kind::Uint64 => "uint64",
            Kind::Sint32 => "sint32",
            Kind::Sint64 => "sint64",
            Kind::Fixed32 => "fixed32",
            Kind::Fixed64 => "fixed64",
            Kind::Sfixed32 => "sfixed32",
            Kind::Sfixed64 => "sfixed64",
            Kind::String => "string",
            Kind::Bytes => "bytes",
            Kind::Enum(_) => "enum",
            Kind::Message(_) => "message",
        }
    }

    /// 0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes.
    pub(super) fn wire_type(self) -> u8 {
        match self {
            Kind::String | Kind::Bytes | Kind::Message(_) => 2,
            Kind::Fixed64 | Kind::Sfixed64 => 1,
            Kind::Fixed32 | Kind::Sfixed32 => 5,
            _ => 0,
        }
    }
}

#[derive(Debug)]
pub(super) struct Field {
    pub number: u32,
    /// As in the .proto file; answers are written with it.
    pub name: String,
    /// lowerCamel; requests may use either.
    pub json_name: String,
    pub kind: Kind,
    pub repeated: bool,
    /// Whether a zero that is there differs from nothing: members of a oneof, `optional`, messages.
    pub presence: bool,
    pub oneof: Option<u8>,
}

#[derive(Debug)]
pub(super) struct Message {
    /// `etcdserverpb.RangeRequest`
    pub name: String,
    /// By number.
    pub fields: Vec<Field>,
    /// Full names, as error texts give them.
    pub oneofs: Vec<String>,
    names: HashMap<String, u8>,
}

impl Message {
    /// The field under its JSON or proto name.
    pub(super) fn by_name(&self, name: &str) -> Option<usize> {
        self.names.get(name).map(|i| usize::from(*i))
    }

    pub(super) fn by_number(&self, number: u32) -> Option<usize> {
        self.fields.binary_search_by_key(&number, |f| f.number).ok()
    }
}

#[derive(Debug)]
pub(super) struct Enum {
    values: Vec<(String, i32)>,
}

impl Enum {
    pub(super) fn number(&self, name: &str) -> Option<i32> {
        self.values.iter().find(|(n, _)| n == name).map(|(_, v)| *v)
    }

    pub(super) fn name(&self, number: i32) -> Option<&str> {
        self.values.iter().find(|(_, v)| *v == number).map(|(n, _)| n.as_str())
    }
}

pub(super) struct Tables {
    messages: Vec<Message>,
    enums: Vec<Enum>,
    message_names: HashMap<String, u16>,
    methods: HashMap<String, Method>,
}

pub(super) fn tables() -> &'static Tables {
    static TABLES: OnceLock<Tables> = OnceLock::new();
    TABLES.get_or_init(|| {
        // Our own compiled-in descriptors: they decode, or the build is broken.
        let set = FileDescriptorSet::decode(api::pb::DESCRIPTORS).expect("compiled-in descriptors decode");
        build(&set)
    })
}

impl Tables {
    pub(super) fn message(&self, index: u16) -> &Message {
        &self.messages[usize::from(index)]
    }

    pub(super) fn enumeration(&self, index: u16) -> &Enum {
        &self.enums[usize::from(index)]
    }
}

/// A message type by its full name, such as `etcdserverpb.RangeRequest`.
pub fn message(name: &str) -> Option<MessageType> {
    tables().message_names.get(name).map(|i| MessageType(*i))
}

/// The types of a gRPC method by its path, such as `/etcdserverpb.KV/Range`.
pub fn method(path: &str) -> Option<Method> {
    tables().methods.get(path).copied()
}

/// Types by their name with a leading dot, as the descriptors refer to them.
#[derive(Default)]
struct Found<'a> {
    messages: Vec<(String, &'a DescriptorProto, bool)>,
    enums: Vec<(String, &'a EnumDescriptorProto)>,
}

impl<'a> Found<'a> {
    fn take(&mut self, scope: &str, message: &'a DescriptorProto, proto3: bool) {
        let name = format!("{scope}.{}", message.name());
        for nested in &message.nested_type {
            self.take(&name, nested, proto3);
        }
        for nested in &message.enum_type {
            self.enums.push((format!("{name}.{}", nested.name()), nested));
        }
        self.messages.push((name, message, proto3));
    }
}

fn build(set: &FileDescriptorSet) -> Tables {
    let mut found = Found::default();
    for file in &set.file {
        let scope = format!(".{}", file.package());
        let proto3 = file.syntax() == "proto3";
        for message in &file.message_type {
            found.take(&scope, message, proto3);
        }
        for one in &file.enum_type {
            found.enums.push((format!("{scope}.{}", one.name()), one));
        }
    }
    let message_index: HashMap<&str, u16> = (0u16..).zip(&found.messages).map(|(i, (n, _, _))| (n.as_str(), i)).collect();
    let enum_index: HashMap<&str, u16> = (0u16..).zip(&found.enums).map(|(i, (n, _))| (n.as_str(), i)).collect();
    let messages = found
        .messages
        .iter()
        .map(|(name, descriptor, proto3)| build_message(name, descriptor, *proto3, &message_index, &enum_index))
        .collect();
    let enums = found
        .enums
        .iter()
        .map(|(_, descriptor)| Enum {
            values: descriptor.value.iter().map(|v| (v.name().to_owned(), v.number())).collect(),
        })
        .collect();
    let mut methods = HashMap::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                methods.insert(
                    path,
                    Method {
                        request: MessageType(message_index[method.input_type()]),
                        answer: MessageType(message_index[method.output_type()]),
                        client_streams: method.client_streaming(),
                        server_streams: method.server_streaming(),
                    },
                );
            }
        }
    }
    let message_names = message_index
        .iter()
        .map(|(n, i)| (n.trim_start_matches('.').to_owned(), *i))
        .collect();
    Tables {
        messages,
        enums,
        message_names,
        methods,
    }
}

fn build_message(
    name: &str,
    descriptor: &DescriptorProto,
    proto3: bool,
    messages: &HashMap<&str, u16>,
    enums: &HashMap<&str, u16>,
) -> Message {
    let name = name.trim_start_matches('.').to_owned();
    let oneofs = descriptor.oneof_decl.iter().map(|o| format!("{name}.{}", o.name())).collect();
    let mut fields: Vec<Field> = descriptor
        .field
        .iter()
        .map(|field| build_field(field, proto3, messages, enums))
        .collect();
    fields.sort_by_key(|f| f.number);
    assert!(
        fields.len() <= 64,
        "{name} has more fields than the decoder's set of seen ones holds"
    );
    let mut names = HashMap::new();
    // The JSON name wins where one field's JSON name is another's proto name.
    for (i, field) in (0u8..).zip(&fields) {
        names.entry(field.name.clone()).or_insert(i);
    }
    for (i, field) in (0u8..).zip(&fields) {
        names.insert(field.json_name.clone(), i);
    }
    Message {
        name,
        fields,
        oneofs,
        names,
    }
}

fn build_field(field: &FieldDescriptorProto, proto3: bool, messages: &HashMap<&str, u16>, enums: &HashMap<&str, u16>) -> Field {
    let kind = match field.r#type() {
        Type::Bool => Kind::Bool,
        Type::Int32 => Kind::Int32,
        Type::Int64 => Kind::Int64,
        Type::Uint32 => Kind::Uint32,
        Type::Uint64 => Kind::Uint64,
        Type::Sint32 => Kind::Sint32,
        Type::Sint64 => Kind::Sint64,
        Type::Fixed32 => Kind::Fixed32,
        Type::Fixed64 => Kind::Fixed64,
        Type::Sfixed32 => Kind::Sfixed32,
        Type::Sfixed64 => Kind::Sfixed64,
        Type::String => Kind::String,
        Type::Bytes => Kind::Bytes,
        Type::Enum => Kind::Enum(enums[field.type_name()]),
        Type::Message => Kind::Message(messages[field.type_name()]),
        // etcd's API has none of these; their JSON forms would be dead code here.
        Type::Float | Type::Double | Type::Group => panic!("field {} has a kind that etcd's API does not use", field.name()),
    };
    let name = field.name().to_owned();
    let json_name = match &field.json_name {
        Some(json) => json.clone(),
        None => camel(&name),
    };
    let repeated = field.label() == Label::Repeated;
    Field {
        number: u32::try_from(field.number()).expect("field numbers are positive"),
        kind,
        repeated,
        presence: !repeated && (!proto3 || field.oneof_index.is_some() || matches!(kind, Kind::Message(_))),
        // `optional` in proto3 is a oneof of one, by which nothing can conflict.
        oneof: field.oneof_index.map(|i| u8::try_from(i).expect("few oneofs")),
        name,
        json_name,
    }
}

fn camel(name: &str) -> String {
    let mut out = String::new();
    let mut up = false;
    for c in name.chars() {
        match c {
            '_' => up = true,
            c if up => {
                out.push(c.to_ascii_uppercase());
                up = false;
            }
            c => out.push(c),
        }
    }
    out
}
