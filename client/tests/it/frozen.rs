//! What clients were compiled with stays true: fields, methods and values are only ever added.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use prost::Message;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};
use tapstone_client::proto::DESCRIPTOR;

/// Everything that a client relies on, one line each.
fn facts() -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    let set = FileDescriptorSet::decode(DESCRIPTOR).unwrap();
    for file in set.file.iter().filter(|file| file.package() == "tapstone.v1") {
        let package = file.package();
        for message in &file.message_type {
            add_message(package, message, &mut facts);
        }
        for it in &file.enum_type {
            add_enum(package, it, &mut facts);
        }
        for service in &file.service {
            for method in &service.method {
                let stream = |is: bool| if is { "stream " } else { "" };
                facts.insert(format!(
                    "rpc {package}.{}/{} ({}{}) returns ({}{})",
                    service.name(),
                    method.name(),
                    stream(method.client_streaming()),
                    method.input_type(),
                    stream(method.server_streaming()),
                    method.output_type(),
                ));
            }
        }
    }
    facts
}

fn add_message(within: &str, message: &DescriptorProto, facts: &mut BTreeSet<String>) {
    let name = format!("{within}.{}", message.name());
    for field in &message.field {
        let kind = match field.r#type() {
            Type::Message | Type::Enum => field.type_name().to_owned(),
            other => other.as_str_name().trim_start_matches("TYPE_").to_lowercase(),
        };
        let label = match (field.label(), field.oneof_index, field.proto3_optional()) {
            (Label::Repeated, ..) => "repeated ",
            (_, _, true) => "optional ",
            (_, Some(_), _) => "oneof ",
            _ => "",
        };
        facts.insert(format!("{name} {} = {label}{kind} {}", field.number(), field.name()));
    }
    for nested in &message.nested_type {
        add_message(&name, nested, facts);
    }
    for nested in &message.enum_type {
        add_enum(&name, nested, facts);
    }
}

fn add_enum(within: &str, it: &EnumDescriptorProto, facts: &mut BTreeSet<String>) {
    for value in &it.value {
        facts.insert(format!("{within}.{} {} = {}", it.name(), value.number(), value.name()));
    }
}

/// To freeze what was added, run with `TAPSTONE_FREEZE=1` and commit it.
#[test]
fn nothing_that_clients_rely_on_is_gone() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/tapstone-v1.txt");
    let facts = facts();
    if std::env::var_os("TAPSTONE_FREEZE").is_some() {
        let text: String = facts.iter().map(|fact| format!("{fact}\n")).collect();
        fs::write(&path, text).unwrap();
    }
    let frozen = fs::read_to_string(&path).unwrap();
    let gone: Vec<_> = frozen.lines().filter(|fact| !facts.contains(*fact)).collect();
    assert!(gone.is_empty(), "gone, or changed:\n{}", gone.join("\n"));
    let frozen: BTreeSet<_> = frozen.lines().collect();
    let new: Vec<_> = facts.iter().filter(|fact| !frozen.contains(fact.as_str())).collect();
    assert!(new.is_empty(), "new, to be frozen: {new:#?}");
    assert!(frozen.len() > 100);
}
