// SPDX-License-Identifier: Apache-2.0
//
// Transfer: what kind of source goes to what kind of destination.
//
//   ImageImportStream -> ImageStore         import an archive
//   OCIRegistry       -> ImageStore         pull
//   ImageStore        -> OCIRegistry        push
//   ImageStore        -> ImageExportStream  export
//   ImageStore        -> ImageStore         tag
//   ImageImportStream -> ImageExportStream  an echo, by which clients try their streams
#include <algorithm>

#include "base/log.h"
#include "containerd/image_records.h"
#include "containerd/parts.h"
#include "containerd/rpc.h"
#include "containerd/services/transfer/v1/transfer.grpc.pb.h"
#include "containerd/streams.h"
#include "containerd/transfer_registry.h"
#include "containerd/types/transfer/imagestore.pb.h"
#include "containerd/types/transfer/importexport.pb.h"
#include "containerd/types/transfer/progress.pb.h"
#include "images/export.h"
#include "images/import.h"
#include "images/unpack.h"

namespace gantry::containerd {
namespace {

namespace transfer_api = ::containerd::services::transfer::v1;
namespace transfer = ::containerd::types::transfer;

// One Transfer call; lives on its worker.
class TransferCall {
 public:
  TransferCall(Parts* parts, const transfer_api::TransferRequest& request, StopToken stop)
      : parts_(parts), request_(request), stop_(std::move(stop)) {}

  Result<> Run(const Caller& caller) {
    if (!request_.options().progress_stream().empty()) {
      progress_.emplace(
          TRY(parts_->streams->Take(caller.ns, request_.options().progress_stream())));
    }
    WorkLease lease = TRY(WorkLease::Create(parts_, caller));
    auto records = MakeImageRecords(parts_, lease.caller());
    images::Library library{.blobs = parts_->blobs,
                            .records = records.get(),
                            .ns = caller.ns,
                            .stop = stop_,
                            .progress = [this](const images::Progress& step) { Report(step); },
                            .max_layer_bytes = parts_->registries.max_layer_bytes};
    return Dispatch(lease.caller(), library);
  }

 private:
  Result<> Dispatch(const Caller& caller, const images::Library& library) {
    transfer::ImageImportStream import;
    transfer::ImageExportStream export_stream;
    transfer::OCIRegistry registry;
    transfer::ImageStore from;
    transfer::ImageStore to;
    bool into_store = UnpackAny(request_.destination(), &to);
    if (into_store && UnpackAny(request_.source(), &import)) {
      return Import(caller, library, import, to);
    }
    if (into_store && UnpackAny(request_.source(), &registry)) {
      return PullImage(parts_, caller, library, registry, to);
    }
    if (UnpackAny(request_.source(), &import) &&
        UnpackAny(request_.destination(), &export_stream)) {
      return Echo(caller, import, export_stream);
    }
    if (UnpackAny(request_.source(), &from)) {
      if (UnpackAny(request_.destination(), &registry)) {
        return PushImage(parts_, caller, library, from, registry);
      }
      if (into_store && to.name() == from.name() && to.unpacks_size() > 0) {
        return Unpack(library, TRY(FindImage(library, from.name())).target, to);
      }
      if (into_store) return Tag(library, from, to);
      if (UnpackAny(request_.destination(), &export_stream)) {
        return Export(caller, library, from, export_stream);
      }
    }
    return Unimplemented("transfer from {} to {} is not supported", request_.source().type_url(),
                         request_.destination().type_url());
  }

  Result<> Import(const Caller& caller, const images::Library& library,
                  const transfer::ImageImportStream& from, const transfer::ImageStore& to) {
    StreamUse stream(TRY(parts_->streams->Take(caller.ns, from.stream())));
    StreamSource archive(stream.get());
    images::ImportOptions options;
    options.index_name = to.name();
    for (const auto& reference : to.extra_references()) {
      options.rules.push_back({.name = reference.name(),
                               .is_prefix = reference.is_prefix(),
                               .allow_overwrite = reference.allow_overwrite(),
                               .add_digest = reference.add_digest(),
                               .skip_named_digest = reference.skip_named_digest()});
    }
    for (const auto& platform : to.platforms()) {
      options.platforms.push_back(
          ToPlatform(platform.os(), platform.architecture(), platform.variant()));
    }
    options.labels = ToLabels(to.labels());
    std::vector<snapshots::Snapshotter*> into;
    for (const auto& unpack : to.unpacks()) {
      into.push_back(TRY(FindSnapshotter(*parts_, unpack.snapshotter())));
    }
    images::EarlyLayers early(library, into);
    options.early = &early;
    options.before_record = [&](const oci::Descriptor& target) {
      return UnpackWhatFits(library, target, to, &early);
    };
    TRY_WITH(images::Import(library, archive, options), "importing images");
    return {};
  }

  // An archive may hold images of other platforms, which stay packed.
  Result<> UnpackWhatFits(const images::Library& library, const oci::Descriptor& target,
                          const transfer::ImageStore& to, images::EarlyLayers* early) {
    for (const auto& unpack : to.unpacks()) {
      auto resolved = images::ResolveManifest(*parts_->blobs, target, PlatformOf(unpack));
      if (!resolved.ok() && resolved.error().kind() == ErrorKind::kNotFound) continue;
      TRY(UnpackOne(library, target, unpack, early));
    }
    return {};
  }

  Result<> Unpack(const images::Library& library, const oci::Descriptor& target,
                  const transfer::ImageStore& to) {
    for (const auto& unpack : to.unpacks()) TRY(UnpackOne(library, target, unpack, nullptr));
    return {};
  }

  Result<> UnpackOne(const images::Library& library, const oci::Descriptor& target,
                     const transfer::UnpackConfiguration& unpack, images::EarlyLayers* early) {
    auto* snapshotter = TRY(FindSnapshotter(*parts_, unpack.snapshotter()));
    images::LayerSupply supply(parts_->blobs);
    TRY(images::Unpack(library, *snapshotter, target, PlatformOf(unpack), {&supply, early}));
    return {};
  }

  static oci::Platform PlatformOf(const transfer::UnpackConfiguration& unpack) {
    const auto& platform = unpack.platform();
    return ToPlatform(platform.os(), platform.architecture(), platform.variant());
  }

  Result<> Export(const Caller& caller, const images::Library& library,
                  const transfer::ImageStore& from, const transfer::ImageExportStream& to) {
    StreamUse stream(TRY(parts_->streams->Take(caller.ns, to.stream())));
    std::vector<std::string> names;
    if (!from.name().empty()) names.push_back(from.name());
    for (const auto& reference : from.extra_references()) names.push_back(reference.name());
    std::vector<images::ImageRecord> images;
    for (const std::string& name : names) images.push_back(TRY(FindImage(library, name)));
    if (images.empty()) return InvalidArgument("exporting images: no name is given");
    images::ExportOptions options;
    if (!to.all_platforms()) {
      for (const auto& platform : to.platforms()) {
        options.platforms.push_back(
            ToPlatform(platform.os(), platform.architecture(), platform.variant()));
      }
    }
    StreamSink archive(stream.get());
    TRY_WITH(images::Export(library, images, options, archive), "exporting images");
    return {};
  }

  Result<> Echo(const Caller& caller, const transfer::ImageImportStream& from,
                const transfer::ImageExportStream& to) {
    StreamUse in(TRY(parts_->streams->Take(caller.ns, from.stream())));
    StreamUse out(TRY(parts_->streams->Take(caller.ns, to.stream())));
    StreamSource source(in.get());
    StreamSink sink(out.get());
    while (true) {
      std::string_view data = TRY(source.Next());
      if (data.empty()) return {};
      TRY(sink.Write(data));
    }
  }

  Result<> Tag(const images::Library& library, const transfer::ImageStore& from,
               const transfer::ImageStore& to) {
    if (to.name().empty()) return InvalidArgument("tagging image '{}': no new name", from.name());
    auto image = TRY(FindImage(library, from.name()));
    image.name = to.name();
    if (!to.labels().empty()) image.labels = ToLabels(to.labels());
    return library.records->PutImage(image);
  }

  static Result<images::ImageRecord> FindImage(const images::Library& library,
                                               const std::string& name) {
    auto image = TRY(library.records->FindImage(name));
    if (!image.has_value()) return NotFound("image \"{}\": not found", name);
    return *std::move(image);
  }

  // A client that does not follow the progress gets its images all the same.
  void Report(const images::Progress& step) {
    if (!progress_.has_value()) return;
    transfer::Progress message;
    message.set_event(step.event);
    message.set_name(step.name);
    message.set_progress(static_cast<int64_t>(step.done_bytes));
    message.set_total(static_cast<int64_t>(step.total_bytes));
    if (step.descriptor.has_value()) *message.mutable_desc() = ToProto(*step.descriptor);
    (void)progress_->get()->Send(message);
  }

  Parts* parts_;
  const transfer_api::TransferRequest& request_;
  const StopToken stop_;
  std::optional<StreamUse> progress_;
};

// Stops the work when the client goes.
class TransferReactor : public grpc::ServerUnaryReactor {
 public:
  Result<StopToken> token() const {
    if (!stop_.ok()) return stop_.error();
    return stop_.value().token();
  }
  void OnCancel() override {
    if (stop_.ok()) stop_->RequestStop();
  }
  void OnDone() override { delete this; }

 private:
  Result<StopSource> stop_ = StopSource::Create();
};

class TransferService : public transfer_api::Transfer::CallbackService {
 public:
  explicit TransferService(Parts* parts) : parts_(parts) {}

 private:
  grpc::ServerUnaryReactor* Transfer(Context* context, const transfer_api::TransferRequest* request,
                                     google::protobuf::Empty*) override {
    auto* reactor = new TransferReactor();
    parts_->workers->Run([this, reactor, request, caller = CallerOf(*context)] {
      reactor->Finish(ToStatus(Run(*reactor, *request, caller)));
    });
    return reactor;
  }

  Result<> Run(TransferReactor& reactor, const transfer_api::TransferRequest& request,
               const Result<Caller>& caller) {
    TRY(caller);
    return TransferCall(parts_, request, TRY(reactor.token())).Run(*caller);
  }

  Parts* parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeTransferService(Parts* parts) {
  return std::make_unique<TransferService>(parts);
}

}  // namespace gantry::containerd
