// SPDX-License-Identifier: Apache-2.0
#include "engine/api/progress_stream.h"

#include <utility>

#include "base/log.h"
#include "formats/human_units.h"
#include "oci/image_spec.h"

namespace gantry::engine::api {
namespace {

using formats::Json;

// A bar moves at most so often.
constexpr std::chrono::milliseconds kInterval{100};

// The words of containerd's transfers in docker's.
std::string StatusWord(const std::string& event) {
  if (event == "waiting") return "Pulling fs layer";
  if (event == "downloading") return "Downloading";
  if (event == "complete") return "Download complete";
  if (event == "extracting") return "Extracting";
  if (event == "extracted" || event == "unpacked") return "Pull complete";
  if (event == "already exists") return "Already exists";
  return "";
}

std::string PushStatusWord(const std::string& event) {
  if (event == "waiting") return "Preparing";
  if (event == "uploading") return "Pushing";
  if (event == "complete") return "Pushed";
  if (event == "mounted") return "Mounted from another repository";
  if (event == "already exists") return "Layer already exists";
  return "";
}

// Docker names a layer by the first 12 digits of its digest and shows nothing but layers.
std::string LayerId(const client::Progress& progress) {
  if (!oci::IsLayer(progress.descriptor.media_type)) return "";
  const std::string& digest = progress.descriptor.digest;
  size_t colon = digest.find(':');
  if (colon == std::string::npos) return "";
  return digest.substr(colon + 1, 12);
}

}  // namespace

void ProgressStream::SetFirstLine(Json line) {
  MutexLock lock(mutex_);
  first_ = std::move(line);
  known_image_ = false;
}

client::ProgressCallback ProgressStream::callback() {
  return [this](const client::Progress& progress) {
    if (progress.event == "already exists") {
      MutexLock lock(mutex_);
      if (oci::IsConfig(progress.descriptor.media_type)) known_image_ = true;
      if (known_image_) return;
    }
    OnProgress(progress, StatusWord(progress.event));
  };
}

client::ProgressCallback ProgressStream::PushCallback() {
  return [this](const client::Progress& progress) {
    OnProgress(progress, PushStatusWord(progress.event));
  };
}

void ProgressStream::OnProgress(const client::Progress& progress, const std::string& status) {
  std::string id = LayerId(progress);
  if (detail_ == Detail::kNone || id.empty() || status.empty()) return;
  MutexLock lock(mutex_);
  auto now = SteadyClock::now();
  Shown& shown = shown_[id];
  if (shown.event == progress.event && now - shown.when < kInterval) return;
  shown = {progress.event, now};
  Json detail = Json::MakeObject();
  Json line = Json::MakeObject({{"status", status}});
  if (progress.total > 0 &&
      (status == "Downloading" || status == "Extracting" || status == "Pushing")) {
    detail.Set("current", progress.progress);
    detail.Set("total", progress.total);
    line.Set("progress", formats::HumanSize(static_cast<double>(progress.progress)) + "/" +
                             formats::HumanSize(static_cast<double>(progress.total)));
  }
  line.Set("progressDetail", std::move(detail));
  line.Set("id", id);
  Result<> sent = SendLocked(line);
  if (!sent.ok()) log::Debug("telling progress: {}", sent.error().message());
}

Result<> ProgressStream::Send(const Json& line) {
  MutexLock lock(mutex_);
  return SendLocked(line);
}

Result<> ProgressStream::SendLocked(const Json& line) {
  wire::Exchange& exchange = call_.exchange;
  if (!exchange.begun()) {
    exchange.headers().Set("Content-Type", "application/json");
    TRY(exchange.Begin(200));
    if (first_) TRY(exchange.Write(first_->Dump() + "\r\n"));
    first_.reset();
  }
  return exchange.Write(line.Dump() + "\r\n");
}

Result<> ProgressStream::Fail(Error error, int code) {
  {
    MutexLock lock(mutex_);
    if (!call_.exchange.begun()) return error;
  }
  return FailInStream(error, code);
}

Result<> ProgressStream::FailInStream(const Error& error, int code) {
  MutexLock lock(mutex_);
  Json detail = Json::MakeObject();
  if (code != 0) detail.Set("code", code);
  detail.Set("message", error.message());
  TRY(SendLocked(
      Json::MakeObject({{"errorDetail", std::move(detail)}, {"error", error.message()}})));
  return call_.exchange.Finish();
}

Result<> ProgressStream::Finish() {
  MutexLock lock(mutex_);
  if (!call_.exchange.begun()) {
    call_.exchange.headers().Set("Content-Type", "application/json");
    TRY(call_.exchange.Begin(200));
  }
  return call_.exchange.Finish();
}

}  // namespace gantry::engine::api
