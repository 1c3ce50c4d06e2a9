// SPDX-License-Identifier: Apache-2.0
#include "containerd/streams.h"

#include <algorithm>

#include "containerd/types/transfer/streaming.pb.h"
#include "formats/protobuf_wire.h"

namespace gantry::containerd {
namespace {

namespace transfer = ::containerd::types::transfer;

constexpr size_t kMaxStreams = 1024;
constexpr int32_t kWindowBytes = 4 << 20;
constexpr int64_t kChunkBytes = 256 << 10;

bool IsOfType(const google::protobuf::Any& any, std::string_view name) {
  std::string_view url = any.type_url();
  return url.substr(url.rfind('/') + 1) == name;
}

}  // namespace

google::protobuf::Any PackAny(const google::protobuf::Message& message) {
  google::protobuf::Any any;
  any.set_type_url(message.GetTypeName());
  message.SerializeToString(any.mutable_value());
  return any;
}

bool UnpackAny(const google::protobuf::Any& any, google::protobuf::Message* message) {
  return IsOfType(any, message->GetTypeName()) && message->ParseFromString(any.value());
}

namespace {

// The bytes of a message Data where they are: it is parsed by hand, since protobuf would copy them.
// Empty for another message.
std::string_view DataOf(const google::protobuf::Any& any) {
  static const std::string name = transfer::Data().GetTypeName();
  std::string_view bytes;
  if (!IsOfType(any, name)) return bytes;
  formats::ProtoReader reader(any.value());
  while (reader.Next()) {
    if (reader.field() == transfer::Data::kDataFieldNumber) {
      bytes = reader.Bytes();
    } else {
      reader.Skip();
    }
  }
  return reader.ok() ? bytes : std::string_view();
}

}  // namespace

Result<> Streams::Add(const std::string& ns, const std::string& id,
                      std::shared_ptr<Stream> stream) {
  if (id.empty()) return InvalidArgument("stream id must not be empty");
  MutexLock lock(mutex_);
  if (streams_.size() >= kMaxStreams) {
    return MakeError(ErrorKind::kResourceExhausted, "opening stream '{}': {} are open", id,
                     streams_.size());
  }
  if (!streams_.emplace(std::pair(ns, id), std::move(stream)).second) {
    return AlreadyExists("stream '{}': already exists", id);
  }
  return {};
}

void Streams::Remove(const std::string& ns, const std::string& id) {
  std::shared_ptr<Stream> removed;  // destroyed without the lock
  MutexLock lock(mutex_);
  auto found = streams_.find({ns, id});
  if (found == streams_.end()) return;
  removed = std::move(found->second);
  streams_.erase(found);
}

Result<std::shared_ptr<Stream>> Streams::Take(const std::string& ns, const std::string& id) {
  MutexLock lock(mutex_);
  auto found = streams_.find({ns, id});
  if (found == streams_.end()) return NotFound("stream '{}': not found", id);
  auto stream = std::move(found->second);
  streams_.erase(found);
  return stream;
}

Result<std::string_view> StreamSource::Next() {
  while (!ended_) {
    if (window_ < kWindowBytes / 2) {
      transfer::WindowUpdate update;
      update.set_update(kWindowBytes);
      // A client that has sent everything may have closed its side: what it sent counts.
      if (stream_->Send(update).ok()) window_ += kWindowBytes;
    }
    auto any = TRY(stream_->Receive());
    if (!any.has_value()) {
      ended_ = true;
      break;
    }
    std::string_view bytes = DataOf(*any);
    if (bytes.empty()) continue;
    message_ = std::move(*any);
    bytes = DataOf(message_);
    window_ -= static_cast<int64_t>(bytes.size());
    return bytes;
  }
  return std::string_view();
}

Result<> StreamSink::Write(std::string_view data) {
  while (!data.empty()) {
    while (window_ <= 0) {
      auto any = TRY(stream_->Receive());
      if (!any.has_value()) {
        return MakeError(ErrorKind::kCancelled, "sending a stream: the client wants no more");
      }
      transfer::WindowUpdate update;
      if (UnpackAny(*any, &update)) window_ += update.update();
    }
    auto size =
        static_cast<size_t>(std::min({static_cast<int64_t>(data.size()), window_, kChunkBytes}));
    transfer::Data message;
    message.set_data(data.data(), size);
    TRY(stream_->Send(message));
    window_ -= static_cast<int64_t>(size);
    data.remove_prefix(size);
  }
  return {};
}

}  // namespace gantry::containerd
