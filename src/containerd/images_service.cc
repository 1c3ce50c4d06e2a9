// SPDX-License-Identifier: Apache-2.0
#include "containerd/collector.h"
#include "containerd/event_exchange.h"
#include "containerd/events/image.pb.h"
#include "containerd/filters.h"
#include "containerd/names.h"
#include "containerd/parts.h"
#include "containerd/records.h"
#include "containerd/rpc.h"
#include "containerd/services/images/v1/images.grpc.pb.h"
#include "formats/digest.h"
#include "records/database.h"

namespace gantry::containerd {
namespace {

std::optional<std::string> Field(const images_api::Image& image, const FieldPath& path) {
  if (path[0] == "name") return FieldOf(image.name());
  if (path[0] == "labels") return LabelOf(path, 1, image.labels());
  if (path[0] == "annotations") return LabelOf(path, 1, image.target().annotations());
  if (path[0] == "target" && path.size() > 1) {
    if (path[1] == "digest") return FieldOf(image.target().digest());
    if (path[1] == "mediatype") return FieldOf(image.target().media_type());
  }
  return std::nullopt;
}

Result<> Check(const images_api::Image& image) {
  if (image.name().empty()) return InvalidArgument("image name must not be empty");
  TRY_WITH(CheckLabels(ToLabels(image.labels())), "image \"{}\"", image.name());
  TRY_WITH(formats::Digest::Parse(image.target().digest()), "image.Target.Digest");
  if (image.target().size() <= 0) return InvalidArgument("Target.Size must be greater than zero");
  if (image.target().media_type().empty()) {
    return InvalidArgument("Target.MediaType must be set");
  }
  return {};
}

Result<> Merge(const images_api::UpdateImageRequest& request, images_api::Image* image) {
  const images_api::Image& wanted = request.image();
  if (request.update_mask().paths().empty()) {
    auto created_at = image->created_at();
    *image = wanted;
    *image->mutable_created_at() = created_at;
    return {};
  }
  auto set = [](const auto& from, const std::string& key, auto* to) {
    auto found = from.find(key);
    (*to)[key] = found == from.end() ? "" : found->second;
  };
  for (const std::string& path : request.update_mask().paths()) {
    if (path.starts_with("labels.")) {
      set(wanted.labels(), path.substr(7), image->mutable_labels());
    } else if (path.starts_with("annotations.")) {
      set(wanted.target().annotations(), path.substr(12),
          image->mutable_target()->mutable_annotations());
    } else if (path == "labels") {
      *image->mutable_labels() = wanted.labels();
    } else if (path == "target") {
      *image->mutable_target() = wanted.target();
    } else if (path == "annotations") {
      *image->mutable_target()->mutable_annotations() = wanted.target().annotations();
    } else {
      return InvalidArgument("cannot update \"{}\" field on image \"{}\"", path, wanted.name());
    }
  }
  return {};
}

class ImagesService : public images_api::Images::CallbackService {
 public:
  explicit ImagesService(Parts* parts) : parts_(parts) {}

 private:
  grpc::ServerUnaryReactor* Get(Context* context, const images_api::GetImageRequest* request,
                                images_api::GetImageResponse* response) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      auto tx = TRY(parts_->database->Read());
      *response->mutable_image() = TRY(GetImage(tx, caller.ns, request->name()));
      return {};
    });
  }

  grpc::ServerUnaryReactor* List(Context* context, const images_api::ListImagesRequest* request,
                                 images_api::ListImagesResponse* response) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      Filters filters = TRY(Filters::ParseAll(request->filters()));
      auto tx = TRY(parts_->database->Read());
      auto rows = TRY(tx.Query("SELECT record FROM images WHERE ns = ? ORDER BY name", caller.ns));
      while (TRY(rows.Next())) {
        images_api::Image image;
        std::string_view bytes = rows.Bytes(0);
        if (!image.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
          return MakeError(ErrorKind::kDataLoss, "listing images: a record is damaged");
        }
        auto lookup = [&](const FieldPath& path) { return Field(image, path); };
        if (filters.Matches(lookup)) *response->add_images() = std::move(image);
      }
      return {};
    });
  }

  grpc::ServerUnaryReactor* Create(Context* context, const images_api::CreateImageRequest* request,
                                   images_api::CreateImageResponse* response) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      images_api::Image image = request->image();
      TRY(Check(image));
      DropEmptyLabels(image.mutable_labels());
      *image.mutable_created_at() =
          request->has_source_date_epoch() ? request->source_date_epoch() : ToProto(Now());
      *image.mutable_updated_at() = image.created_at();
      auto guard = parts_->collector->Hold();
      auto tx = TRY(parts_->database->Begin());
      TRY(InsertImage(tx, caller.ns, image));
      TRY(AddToLease(tx, caller.ns, caller.lease, "images", image.name()));
      TRY(tx.Commit());
      images_api::ImageCreate event;
      event.set_name(image.name());
      *event.mutable_labels() = image.labels();
      parts_->events->Publish(caller.ns, "/images/create", event);
      *response->mutable_image() = std::move(image);
      return {};
    });
  }

  grpc::ServerUnaryReactor* Update(Context* context, const images_api::UpdateImageRequest* request,
                                   images_api::UpdateImageResponse* response) override {
    return AnswerCaller(context, [&](const Caller& caller) -> Result<> {
      if (request->image().name().empty()) {
        return InvalidArgument("image name is required for update");
      }
      auto guard = parts_->collector->Hold();
      auto tx = TRY(parts_->database->Begin());
      images_api::Image image = TRY(GetImage(tx, caller.ns, request->image().name()));
      TRY(Merge(*request, &image));
      TRY(Check(image));
      DropEmptyLabels(image.mutable_labels());
      *image.mutable_updated_at() =
          request->has_source_date_epoch() ? request->source_date_epoch() : ToProto(Now());
      TRY(UpdateImage(tx, caller.ns, image));
      TRY(tx.Commit());
      // What the name stood for before may have lost its last reference.
      parts_->collector->Schedule();
      images_api::ImageUpdate event;
      event.set_name(image.name());
      *event.mutable_labels() = image.labels();
      parts_->events->Publish(caller.ns, "/images/update", event);
      *response->mutable_image() = std::move(image);
      return {};
    });
  }

  grpc::ServerUnaryReactor* Delete(Context* context, const images_api::DeleteImageRequest* request,
                                   google::protobuf::Empty*) override {
    auto work = [this, request](const Caller& caller) -> Result<> {
      TRY(Remove(caller, *request));
      images_api::ImageDelete event;
      event.set_name(request->name());
      parts_->events->Publish(caller.ns, "/images/delete", event);
      if (request->sync()) {
        TRY(parts_->collector->Collect());
      } else {
        parts_->collector->Schedule();
      }
      return {};
    };
    if (!request->sync()) return AnswerCaller(context, work);
    return AnswerCallerOn(*parts_->workers, context, work);
  }

  Result<> Remove(const Caller& caller, const images_api::DeleteImageRequest& request) {
    auto tx = TRY(parts_->database->Begin());
    images_api::Image image = TRY(GetImage(tx, caller.ns, request.name()));
    const std::string& wanted = request.target().digest();
    if (!wanted.empty() && wanted != image.target().digest()) {
      return NotFound("image \"{}\" has target {}, not {}: not found", request.name(),
                      image.target().digest(), wanted);
    }
    TRY(tx.Execute("DELETE FROM images WHERE ns = ? AND name = ?", caller.ns, request.name()));
    TRY(tx.Execute("DELETE FROM lease_resources WHERE ns = ? AND type = 'images' AND id = ?",
                   caller.ns, request.name()));
    return tx.Commit();
  }

  Parts* parts_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeImagesService(Parts* parts) {
  return std::make_unique<ImagesService>(parts);
}

}  // namespace gantry::containerd
