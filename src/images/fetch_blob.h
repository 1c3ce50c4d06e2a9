// SPDX-License-Identifier: Apache-2.0
//
// Brings one blob from a registry into the store: resumed where an earlier try stopped, verified,
// tried again when the connection broke, large ones in parts over several connections. For pull.cc.
// Any thread; a call blocks.
#pragma once

#include <atomic>
#include <string>

#include "formats/reference.h"
#include "images/layer_feed.h"
#include "images/library.h"
#include "registry/client.h"

namespace gantry::images {

class BlobFetcher {
 public:
  // `stop_early` turns true when another part of the pull failed. All outlive the fetcher.
  BlobFetcher(const Library& library, registry::Client& client, const formats::Reference& reference,
              int parallel_parts, const std::atomic<bool>& stop_early)
      : library_(library),
        client_(client),
        reference_(reference),
        parallel_parts_(parallel_parts),
        stop_early_(stop_early) {}

  // What the registry sent and cannot be right is thrown away; what a broken connection left stays
  // for the next try. `feed` may be null; it is not finished here.
  Result<> Fetch(const oci::Descriptor& blob, LayerFeed* feed) const;

 private:
  struct Download;
  Result<std::unique_ptr<content::BlobWriter>> OpenWriter(const oci::Descriptor& blob) const;
  Result<> Run(Download& download) const;
  Result<> Commit(Download& download) const;
  Result<> Pause(int attempt) const;
  Result<> Once(Download& download) const;
  Result<> InParts(Download& download) const;
  Result<> Append(Download& download, std::string_view data) const;
  Result<> Restart(Download& download) const;

  const Library& library_;
  registry::Client& client_;
  const formats::Reference& reference_;
  const int parallel_parts_;
  const std::atomic<bool>& stop_early_;
};

}  // namespace gantry::images
