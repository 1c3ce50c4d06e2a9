// SPDX-License-Identifier: Apache-2.0
//
// Streams of the Streaming service, by namespace and id: a client opens one, names it in a Transfer
// request, and the worker of that request sends and receives over it. Any thread; a stream has one
// user at a time. Waiting streams hold no thread.
#pragma once

#include <google/protobuf/any.pb.h>
#include <google/protobuf/message.h>

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/byte_stream.h"
#include "base/error.h"
#include "base/mutex.h"

namespace gantry::containerd {

class Stream {
 public:
  virtual ~Stream() = default;
  // Blocks until the message before is on its way. kCancelled when the client is gone.
  virtual Result<> Send(const google::protobuf::Message& message) = 0;
  // Blocks; nothing once the client has closed its side. kCancelled when the client is gone.
  virtual Result<std::optional<google::protobuf::Any>> Receive() = 0;
  // Ends the stream after what was sent. More than once is harmless.
  virtual void Close() = 0;
};

class Streams {
 public:
  // kAlreadyExists when the id is taken, kResourceExhausted when there are too many.
  Result<> Add(const std::string& ns, const std::string& id, std::shared_ptr<Stream> stream);
  void Remove(const std::string& ns, const std::string& id);
  // Hands the stream to the caller, who closes it. kNotFound.
  Result<std::shared_ptr<Stream>> Take(const std::string& ns, const std::string& id);

 private:
  Mutex mutex_;
  std::map<std::pair<std::string, std::string>, std::shared_ptr<Stream>> streams_
      GUARDED_BY(mutex_);
};

// Closes its stream at the end of its life.
class StreamUse {
 public:
  StreamUse() = default;
  explicit StreamUse(std::shared_ptr<Stream> stream) : stream_(std::move(stream)) {}
  StreamUse(StreamUse&&) = default;
  StreamUse& operator=(StreamUse&&) = delete;
  ~StreamUse() {
    if (stream_ != nullptr) stream_->Close();
  }
  Stream* get() const { return stream_.get(); }

 private:
  std::shared_ptr<Stream> stream_;
};

// Bytes that a client sends: grants it a window (WindowUpdate) and takes its Data. One thread.
class StreamSource : public ByteSource {
 public:
  explicit StreamSource(Stream* stream) : stream_(stream) {}
  Result<std::string_view> Next() override;

 private:
  Stream* stream_;
  int64_t window_ = 0;
  bool ended_ = false;
  google::protobuf::Any message_;  // what Next() gave out
};

// Bytes for a client, within the window that it grants. One thread.
class StreamSink : public ByteSink {
 public:
  explicit StreamSink(Stream* stream) : stream_(stream) {}
  Result<> Write(std::string_view data) override;

 private:
  Stream* stream_;
  int64_t window_ = 0;
};

google::protobuf::Any PackAny(const google::protobuf::Message& message);
// False when `any` is of another type, or damaged.
bool UnpackAny(const google::protobuf::Any& any, google::protobuf::Message* message);

}  // namespace gantry::containerd
