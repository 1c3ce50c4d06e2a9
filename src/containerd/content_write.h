// SPDX-License-Identifier: Apache-2.0
//
// Content.Write: one write of a blob over a two-way stream. Each message is worked on by a worker;
// between messages no thread is held.
#pragma once

#include <grpcpp/grpcpp.h>

#include "containerd/parts.h"
#include "containerd/rpc.h"
#include "containerd/services/content/v1/content.grpc.pb.h"

namespace gantry::containerd {

using ContentWriteReactor =
    grpc::ServerBidiReactor<::containerd::services::content::v1::WriteContentRequest,
                            ::containerd::services::content::v1::WriteContentResponse>;

ContentWriteReactor* MakeContentWrite(Parts* parts, Result<Caller> caller);

// Makes the record of a blob that is on disk, under the caller's lease. The caller holds the
// collector's lock.
Result<> RecordBlob(Parts* parts, const Caller& caller, const content::BlobInfo& blob,
                    const Labels& labels);

}  // namespace gantry::containerd
