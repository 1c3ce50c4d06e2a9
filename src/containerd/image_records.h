// SPDX-License-Identifier: Apache-2.0
//
// What the images library works on, over meta.db: the records of one namespace, under a lease that
// lives as long as the work, so that nothing of an unfinished image is collected. Any thread.
#pragma once

#include <memory>
#include <string>

#include "containerd/parts.h"
#include "containerd/rpc.h"
#include "containerd/types/descriptor.pb.h"
#include "images/library.h"

namespace gantry::containerd {

// A lease for a piece of work: the caller's own, or one made here and removed at the end.
class WorkLease {
 public:
  static Result<WorkLease> Create(Parts* parts, const Caller& caller);
  // At start: those of a daemon that was killed; true when there were some, whose objects are
  // garbage now.
  static Result<bool> RemoveLeftOver(Parts* parts);
  WorkLease(WorkLease&& other) noexcept;
  WorkLease& operator=(WorkLease&&) = delete;
  ~WorkLease();

  // The caller with the lease.
  const Caller& caller() const { return caller_; }

 private:
  WorkLease(Parts* parts, Caller caller, bool own)
      : parts_(parts), caller_(std::move(caller)), own_(own) {}
  Parts* parts_;
  Caller caller_;
  bool own_;
};

std::unique_ptr<images::ImageRecords> MakeImageRecords(Parts* parts, const Caller& caller);

oci::Platform ToPlatform(const std::string& os, const std::string& architecture,
                         const std::string& variant);
Result<oci::Descriptor> ToDescriptor(const ::containerd::types::Descriptor& proto);
::containerd::types::Descriptor ToProto(const oci::Descriptor& descriptor);

}  // namespace gantry::containerd
