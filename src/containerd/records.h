// SPDX-License-Identifier: Apache-2.0
//
// The schema of meta.db (docs/state-on-disk.md) and the records that more than one service needs.
// Functions take the transaction that they are part of. Any thread.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "containerd/services/containers/v1/containers.pb.h"
#include "containerd/services/images/v1/images.pb.h"
#include "containerd/types/sandbox.pb.h"
#include "records/database.h"

namespace gantry::containerd {

using records::Blob;
using records::Database;
using records::Rows;
using records::Transaction;

namespace containers_api = ::containerd::services::containers::v1;
namespace images_api = ::containerd::services::images::v1;

Result<std::unique_ptr<Database>> OpenRecords(const std::string& path);

// A random UUID that is made once for each database.
Result<std::string> ServerUuid(Database& database);

// Everything lives in a namespace, which comes into being with the first thing in it.
Result<> EnsureNamespace(Transaction& tx, const std::string& ns);

Error NoContainer(const std::string& ns, const std::string& id);
// kNotFound: `container "x" in namespace "y": not found`.
Result<containers_api::Container> GetContainer(Transaction& tx, const std::string& ns,
                                               const std::string& id);
Result<::containerd::types::Sandbox> GetSandbox(Transaction& tx, const std::string& ns,
                                                const std::string& id);
Result<images_api::Image> GetImage(Transaction& tx, const std::string& ns, const std::string& name);
// Inserts; kAlreadyExists when the name is taken.
Result<> InsertImage(Transaction& tx, const std::string& ns, const images_api::Image& image);
Result<> UpdateImage(Transaction& tx, const std::string& ns, const images_api::Image& image);

struct ContentRecord {
  std::string digest;
  uint64_t size = 0;
  std::map<std::string, std::string> labels;
  WallTime created_at{};
  WallTime updated_at{};
};
Result<ContentRecord> GetContent(Transaction& tx, const std::string& ns, const std::string& digest);
// Adds the labels when the record is there already; an empty value removes a label.
Result<> PutContent(Transaction& tx, const std::string& ns, const ContentRecord& record);
Result<> SetContentLabels(Transaction& tx, const std::string& ns, const std::string& digest,
                          const std::map<std::string, std::string>& labels);

// Keeps a resource from being collected while the lease lives; nothing for an empty lease. Types
// are "content", "ingests", "images" and "snapshots/NAME". kNotFound: no such lease.
Result<> AddToLease(Transaction& tx, const std::string& ns, const std::string& lease,
                    const std::string& type, const std::string& id);

}  // namespace gantry::containerd
