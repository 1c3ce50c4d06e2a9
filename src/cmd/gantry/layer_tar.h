// SPDX-License-Identifier: Apache-2.0
//
// A layer of docker's overlay2 store as the tar archive that it was unpacked from, byte for byte,
// so that its digest is the one that the image names. docker keeps the archive without the contents
// of its files beside each layer, tar-split.json.gz (vbatts/tar-split, tar/storage): a JSON object
// a line, in order,
//
//   {"type":2,"payload":"BASE64"}             bytes of the archive
//   {"type":1,"name":"PATH","size":N,…}       N bytes of the layer's file PATH
//
// One thread.
#pragma once

#include <cstdint>
#include <string>

#include "base/byte_stream.h"
#include "base/error.h"

namespace gantry::cli {

class LayerTar {
 public:
  // `split`: tar-split.json.gz; `files`: the directory with the layer's files.
  static Result<LayerTar> Open(const std::string& split, std::string files);

  uint64_t size() const { return size_; }
  // Whether each file that it names is there, as long as it was.
  Result<> Check() const;
  Result<> WriteTo(ByteSink& sink) const;

 private:
  std::string split_;  // its text
  std::string files_;
  uint64_t size_ = 0;
};

}  // namespace gantry::cli
