// SPDX-License-Identifier: Apache-2.0
//
// `update`: resources from a file (--resources, then all else is ignored) or one by one.
#include <unistd.h>

#include "base/io.h"
#include "cmd/gantry-runtime/arguments.h"
#include "cmd/gantry-runtime/commands.h"
#include "formats/human_units.h"
#include "runtime/operations.h"

namespace gantry::cmd {
namespace {

constexpr size_t kMaxResources = size_t{1} << 20;
constexpr int64_t kUnset = INT64_MIN;

Result<oci::Resources> ReadResources(const std::string& file) {
  std::string text = file == "-" ? TRY(ReadToEnd(BorrowedFd(STDIN_FILENO), kMaxResources))
                                 : TRY(ReadFile(file, kMaxResources));
  return oci::ParseResources(TRY(formats::Json::Parse(text)));
}

// As the flags give them; kUnset: not given.
struct UpdateWords {
  std::string file;
  std::string cpus, mems;
  std::string memory, reservation, swap, kernel, kernel_tcp;
  int64_t shares = kUnset, quota = kUnset, period = kUnset, burst = kUnset, idle = kUnset;
  int64_t rt_runtime = kUnset, rt_period = kUnset, weight = kUnset, pids = kUnset;
  runtime::CacheUpdate cache;

  void Declare(Arguments* arguments) {
    arguments->Value("resources,r", &file);
    arguments->Value("memory", &memory);
    arguments->Value("memory-reservation", &reservation);
    arguments->Value("memory-swap", &swap);
    arguments->Value("kernel-memory", &kernel);
    arguments->Value("kernel-memory-tcp", &kernel_tcp);
    arguments->Number("cpu-share,cpu-shares", &shares);
    arguments->Number("cpu-quota", &quota);
    arguments->Number("cpu-period", &period);
    arguments->Number("cpu-burst", &burst);
    arguments->Number("cpu-idle", &idle);
    arguments->Number("cpu-rt-runtime", &rt_runtime);
    arguments->Number("cpu-rt-period", &rt_period);
    arguments->Value("cpuset-cpus", &cpus);
    arguments->Value("cpuset-mems", &mems);
    arguments->Number("blkio-weight", &weight);
    arguments->Number("pids-limit", &pids);
    arguments->Value("l3-cache-schema", &cache.l3_cache_schema);
    arguments->Value("mem-bw-schema", &cache.mem_bw_schema);
  }
};

// Bytes, also with a unit ("64m"); -1: unlimited.
Result<> TakeSize(const std::string& text, std::string_view flag, std::optional<int64_t>* out) {
  if (text.empty()) return {};
  if (text == "-1") {
    *out = -1;
    return {};
  }
  *out = TRY_WITH(formats::ParseBinarySize(text), "option --{}", flag);
  return {};
}

template <typename T>
Result<> Take(int64_t value, std::string_view flag, std::optional<T>* out) {
  if (value == kUnset) return {};
  if (!std::is_signed_v<T> && value < 0) {
    return InvalidArgument("option --{}: {} is below zero", flag, value);
  }
  *out = static_cast<T>(value);
  return {};
}

Result<oci::Resources> FromWords(const UpdateWords& words) {
  oci::Memory memory;
  TRY(TakeSize(words.memory, "memory", &memory.limit));
  TRY(TakeSize(words.reservation, "memory-reservation", &memory.reservation));
  TRY(TakeSize(words.swap, "memory-swap", &memory.swap));
  TRY(TakeSize(words.kernel, "kernel-memory", &memory.kernel));
  TRY(TakeSize(words.kernel_tcp, "kernel-memory-tcp", &memory.kernel_tcp));
  oci::Cpu cpu;
  cpu.cpus = words.cpus;
  cpu.mems = words.mems;
  TRY(Take(words.shares, "cpu-share", &cpu.shares));
  TRY(Take(words.quota, "cpu-quota", &cpu.quota));
  TRY(Take(words.period, "cpu-period", &cpu.period));
  TRY(Take(words.burst, "cpu-burst", &cpu.burst));
  TRY(Take(words.idle, "cpu-idle", &cpu.idle));
  TRY(Take(words.rt_runtime, "cpu-rt-runtime", &cpu.realtime_runtime));
  TRY(Take(words.rt_period, "cpu-rt-period", &cpu.realtime_period));
  oci::BlockIo block;
  TRY(Take(words.weight, "blkio-weight", &block.weight));
  oci::Resources resources;
  resources.memory = memory;
  resources.cpu = cpu;
  resources.block_io = block;
  if (words.pids != kUnset) resources.pids = oci::Pids{words.pids};
  return resources;
}

}  // namespace

Result<int> UpdateCommand(const GlobalOptions& global, Words line) {
  UpdateWords words;
  Arguments arguments(std::move(line));
  words.Declare(&arguments);
  TRY(arguments.Parse(Arguments::Order::kAnywhere));
  TRY(arguments.Expect(1, "a container ID"));
  bool from_file = !words.file.empty();
  oci::Resources resources = TRY(from_file ? ReadResources(words.file) : FromWords(words));
  if (from_file) words.cache = {};
  TRY(runtime::Update(global.root, arguments.rest()[0], resources, words.cache));
  return 0;
}

}  // namespace gantry::cmd
