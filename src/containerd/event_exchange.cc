// SPDX-License-Identifier: Apache-2.0
#include "containerd/event_exchange.h"

#include "containerd/event_log.h"
#include "containerd/names.h"
#include "containerd/rpc.h"

namespace gantry::containerd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

std::optional<std::string> LabelField(const Message& message, const FieldDescriptor* field,
                                      const FieldPath& path, size_t first) {
  const auto* reflection = message.GetReflection();
  Labels labels;
  for (int i = 0; i < reflection->FieldSize(message, field); ++i) {
    const Message& entry = reflection->GetRepeatedMessage(message, field, i);
    const auto* type = entry.GetDescriptor();
    if (type->map_value()->cpp_type() != FieldDescriptor::CPPTYPE_STRING) return std::nullopt;
    labels[entry.GetReflection()->GetString(entry, type->map_key())] =
        entry.GetReflection()->GetString(entry, type->map_value());
  }
  return LabelOf(path, first, labels);
}

// Strings and labels, also inside messages; numbers cannot be filtered by, as in containerd.
std::optional<std::string> MessageField(const Message& message, const FieldPath& path,
                                        size_t first) {
  if (first >= path.size()) return std::nullopt;
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(path[first]);
  if (field == nullptr) return std::nullopt;
  const auto* reflection = message.GetReflection();
  if (field->is_map()) return LabelField(message, field, path, first + 1);
  if (field->is_repeated()) return std::nullopt;
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
    return FieldOf(reflection->GetString(message, field));
  }
  if (field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
    return MessageField(reflection->GetMessage(message, field), path, first + 1);
  }
  return std::nullopt;
}

std::unique_ptr<Message> DecodeEvent(const google::protobuf::Any& any) {
  std::string name = any.type_url().substr(any.type_url().rfind('/') + 1);
  const auto* type =
      google::protobuf::DescriptorPool::generated_pool()->FindMessageTypeByName(name);
  if (type == nullptr) return nullptr;
  const Message* prototype =
      google::protobuf::MessageFactory::generated_factory()->GetPrototype(type);
  std::unique_ptr<Message> message(prototype->New());
  if (!message->ParseFromString(any.value())) return nullptr;
  return message;
}

}  // namespace

void EventExchange::Publish(const std::string& ns, const std::string& topic, const Message& event) {
  auto envelope = std::make_shared<::containerd::types::Envelope>();
  *envelope->mutable_timestamp() = ToProto(Now());
  envelope->set_namespace_(ns);
  envelope->set_topic(topic);
  // containerd's clients know types by their bare name.
  envelope->mutable_event()->set_type_url(event.GetTypeName());
  event.SerializeToString(envelope->mutable_event()->mutable_value());
  Dispatch(envelope);
}

Result<> EventExchange::Forward(::containerd::types::Envelope event) {
  return Forward(std::move(event), Origin::kHere);
}

Result<> EventExchange::ForwardOnce(::containerd::types::Envelope event) {
  return Forward(std::move(event), Origin::kShim);
}

Result<> EventExchange::Forward(::containerd::types::Envelope event, Origin origin) {
  TRY_WITH(CheckIdentifier(event.namespace_()), "event namespace");
  if (event.topic().size() < 2 || event.topic().front() != '/') {
    return InvalidArgument("event topic \"{}\" must begin with '/'", event.topic());
  }
  if (event.timestamp().seconds() == 0 && event.timestamp().nanos() == 0) {
    return InvalidArgument("event timestamp must be set");
  }
  event.clear_cursor();
  auto envelope = std::make_shared<::containerd::types::Envelope>(std::move(event));
  Dispatch(envelope, origin);
  return {};
}

// One lock over both, so that the order in the log is that of the deliveries.
void EventExchange::Dispatch(const Envelope& envelope, Origin origin) {
  MutexLock lock(mutex_);
  if (origin == Origin::kShim && recent_.Repeats(*envelope, log_)) return;
  if (log_ != nullptr) log_->Append(*envelope);
  for (Subscriber* subscriber : subscribers_) {
    auto lookup = [&](const FieldPath& path) { return EnvelopeField(*envelope, path); };
    if (subscriber->filters().Matches(lookup)) subscriber->Deliver(envelope);
  }
}

size_t EventExchange::subscribers() const {
  MutexLock lock(mutex_);
  return subscribers_.size();
}

void EventExchange::Subscribe(Subscriber* subscriber) {
  MutexLock lock(mutex_);
  subscribers_.insert(subscriber);
}

void EventExchange::Unsubscribe(Subscriber* subscriber) {
  MutexLock lock(mutex_);
  subscribers_.erase(subscriber);
}

std::optional<std::string> EnvelopeField(const ::containerd::types::Envelope& envelope,
                                         const FieldPath& path) {
  if (path.front() == "namespace") return FieldOf(envelope.namespace_());
  if (path.front() == "topic") return FieldOf(envelope.topic());
  if (path.front() != "event") return std::nullopt;
  auto event = DecodeEvent(envelope.event());
  if (event == nullptr) return std::nullopt;
  return MessageField(*event, path, 1);
}

}  // namespace gantry::containerd
