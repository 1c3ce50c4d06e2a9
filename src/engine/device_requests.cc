// SPDX-License-Identifier: Apache-2.0
#include "engine/device_requests.h"

#include "base/log.h"
#include "engine/cdi.h"

namespace gantry::engine {
namespace {

// As Go prints a list of lists: "[[gpu compute] [x]]".
std::string CapabilitiesText(const std::vector<std::vector<std::string>>& lists) {
  std::string out = "[";
  for (const auto& list : lists) {
    out += out.size() > 1 ? " [" : "[";
    for (size_t i = 0; i < list.size(); ++i) out.append(i > 0 ? " " : "").append(list[i]);
    out += "]";
  }
  return out + "]";
}

Result<> ApplyCdi(const DeviceRequest& request, const std::vector<std::string>& directories,
                  oci::Spec* spec) {
  if (request.count != 0) return InvalidArgument("unexpected count in CDI device request");
  if (!request.options.empty()) {
    return InvalidArgument("unexpected options in CDI device request");
  }
  if (request.device_ids.empty()) return {};
  // Read each time: vendors write their specs when devices come and go.
  CdiRegistry registry = CdiRegistry::Read(directories);
  Result<> injected = registry.Inject(request.device_ids, spec);
  if (injected.ok()) return injected;
  for (const std::string& error : registry.errors()) log::Warning("CDI: {}", error);
  return std::move(injected).error().AddContext("CDI device injection failed");
}

}  // namespace

Result<> ApplyDeviceRequests(const std::vector<DeviceRequest>& requests,
                             const std::vector<std::string>& cdi_directories, oci::Spec* spec) {
  for (const DeviceRequest& request : requests) {
    if (request.driver != "cdi" || cdi_directories.empty()) {
      return InvalidArgument("could not select device driver \"{}\" with capabilities: {}",
                             request.driver, CapabilitiesText(request.capabilities));
    }
    TRY(ApplyCdi(request, cdi_directories, spec));
  }
  return {};
}

}  // namespace gantry::engine
