// SPDX-License-Identifier: Apache-2.0
//
// A stream of fsutil's packets, of which one side is here: gRPC's, or a test's. One thread reads,
// one writes.
#pragma once

#include "fsutil/wire.pb.h"

namespace gantry::buildkit {

class PacketStream {
 public:
  using Packet = fsutil::types::Packet;
  virtual ~PacketStream() = default;
  // False at the end.
  virtual bool Read(Packet* packet) = 0;
  virtual bool Write(const Packet& packet) = 0;
  virtual void EndWrites() = 0;
};

// Of a stream that gRPC's generated code makes.
template <typename Stream>
class GrpcPackets : public PacketStream {
 public:
  explicit GrpcPackets(Stream& stream) : stream_(stream) {}
  bool Read(Packet* packet) override { return stream_.Read(packet); }
  bool Write(const Packet& packet) override { return stream_.Write(packet); }
  void EndWrites() override { stream_.WritesDone(); }

 private:
  Stream& stream_;
};

}  // namespace gantry::buildkit
