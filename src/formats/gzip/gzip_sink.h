// SPDX-License-Identifier: Apache-2.0
//
// gzip (RFC 1952) for the static programs, which ISA-L cannot be linked into: a sink that
// compresses into another. The one wrapper of zlib. One thread at a time.
#pragma once

#include <memory>
#include <string_view>

#include "base/byte_stream.h"

namespace gantry::formats {

// Compresses at zlib's fastest level. Finish() ends the stream.
class GzipSink : public ByteSink {
 public:
  // `sink` outlives it.
  explicit GzipSink(ByteSink& sink);
  ~GzipSink() override;
  Result<> Write(std::string_view data) override;
  Result<> Finish();

 private:
  struct State;
  enum class End { kMoreFollows, kFinal };
  Result<> Run(std::string_view data, End end);

  ByteSink& sink_;
  std::unique_ptr<State> state_;
};

}  // namespace gantry::formats
