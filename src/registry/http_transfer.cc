// SPDX-License-Identifier: Apache-2.0
#include "registry/http_transfer.h"

#include <time.h>

#include <optional>

#include "base/io.h"
#include "base/text.h"
#include "registry/libcurl.h"

namespace gantry::registry {
namespace {

constexpr size_t kMaxBodyBytes = size_t{8} << 20;
constexpr size_t kMaxHeaders = 200;
constexpr size_t kMaxIdleHandles = 8;
constexpr long kStallBytesPerSecond = 1024;

// What the callbacks of one request share.
struct Exchange {
  const LibCurl* library;
  CURL* curl;
  const HttpRequest* request;
  const StopToken* stop;
  HttpAnswer answer;
  std::optional<Error> error;
  uint64_t sent = 0;
};

size_t OnHeader(char* data, size_t, size_t size, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  std::string_view line(data, size);
  if (line.substr(0, 5) == "HTTP/") {
    exchange.answer.headers.clear();  // of the last answer only, after redirects
    return size;
  }
  size_t colon = line.find(':');
  if (colon != std::string_view::npos && exchange.answer.headers.size() < kMaxHeaders) {
    exchange.answer.headers.emplace(Lower(line.substr(0, colon)), Trim(line.substr(colon + 1)));
  }
  return size;
}

size_t OnBody(char* data, size_t, size_t size, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  long status = 0;
  exchange.library->easy_getinfo(exchange.curl, CURLINFO_RESPONSE_CODE, &status);
  if (exchange.request->write && status >= 200 && status < 300) {
    auto written = exchange.request->write(static_cast<int>(status), {data, size});
    if (written.ok()) return size;
    exchange.error = std::move(written).error();
    return CURL_WRITEFUNC_ERROR;
  }
  if (exchange.answer.body.size() + size > kMaxBodyBytes) {
    exchange.error = MakeError(ErrorKind::kResourceExhausted, "the answer has more than {} bytes",
                               kMaxBodyBytes);
    return CURL_WRITEFUNC_ERROR;
  }
  exchange.answer.body.append(data, size);
  return size;
}

size_t OnRead(char* buffer, size_t, size_t size, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  auto count = exchange.request->upload->read(exchange.sent, buffer, size);
  if (!count.ok()) {
    exchange.error = std::move(count).error();
    return CURL_READFUNC_ABORT;
  }
  exchange.sent += *count;
  return *count;
}

int OnSeek(void* user, curl_off_t offset, int origin) {
  if (origin != SEEK_SET || offset < 0) return CURL_SEEKFUNC_CANTSEEK;
  static_cast<Exchange*>(user)->sent = static_cast<uint64_t>(offset);
  return CURL_SEEKFUNC_OK;
}

int OnProgress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<Exchange*>(user)->stop->stop_requested() ? 1 : 0;
}

// The lines of a request's head.
class HeaderList {
 public:
  explicit HeaderList(const LibCurl& library) : library_(library) {}
  ~HeaderList() { library_.slist_free_all(list_); }
  HeaderList(const HeaderList&) = delete;
  HeaderList& operator=(const HeaderList&) = delete;
  void Add(const std::string& line) {
    curl_slist* longer = library_.slist_append(list_, line.c_str());
    CHECK(longer != nullptr);
    list_ = longer;
  }
  curl_slist* get() const { return list_; }

 private:
  const LibCurl& library_;
  curl_slist* list_ = nullptr;
};

Error ErrorOf(const LibCurl& library, CURLcode code, const char* detail, const std::string& url) {
  ErrorKind kind = ErrorKind::kUnavailable;
  switch (code) {
    case CURLE_ABORTED_BY_CALLBACK:
      kind = ErrorKind::kCancelled;
      break;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_TOO_MANY_REDIRECTS:
    case CURLE_UNSUPPORTED_PROTOCOL:
      kind = ErrorKind::kFailedPrecondition;
      break;
    case CURLE_URL_MALFORMAT:
      kind = ErrorKind::kInvalidArgument;
      break;
    default:
      break;
  }
  std::string text(Trim(detail[0] != '\0' ? detail : library.easy_strerror(code)));
  if (!text.empty() && text.size() > 1 && (text[1] < 'A' || text[1] > 'Z')) {
    text[0] = Lower(text[0]);
  }
  return MakeError(kind, "requesting '{}': {}", url.substr(0, url.find('?')), text);
}

}  // namespace

std::string HttpAnswer::Header(const std::string& name) const {
  auto found = headers.find(name);
  return found == headers.end() ? "" : found->second;
}

struct HttpTransfer::Handle {
  explicit Handle(const LibCurl* library) : library(library), curl(library->easy_init()) {
    CHECK(curl != nullptr);
  }
  ~Handle() { library->easy_cleanup(curl); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  const LibCurl* library;
  CURL* curl;
};

HttpTransfer::HttpTransfer() = default;
HttpTransfer::~HttpTransfer() = default;

Result<std::unique_ptr<HttpTransfer::Handle>> HttpTransfer::Take() {
  const LibCurl* library = TRY(LoadLibCurl());
  MutexLock lock(mutex_);
  if (idle_.empty()) return std::make_unique<Handle>(library);
  auto handle = std::move(idle_.back());
  idle_.pop_back();
  return handle;
}

void HttpTransfer::Give(std::unique_ptr<Handle> handle) {
  handle->library->easy_reset(handle->curl);  // keeps its connections
  MutexLock lock(mutex_);
  if (idle_.size() < kMaxIdleHandles) idle_.push_back(std::move(handle));
}

namespace {

void SetMethod(Exchange* exchange) {
  const LibCurl& library = *exchange->library;
  CURL* curl = exchange->curl;
  const HttpRequest& request = *exchange->request;
  if (request.method == "HEAD") {
    library.easy_setopt(curl, CURLOPT_NOBODY, 1L);
  } else if (request.method == "POST") {
    library.easy_setopt(curl, CURLOPT_POST, 1L);
    library.easy_setopt(curl, CURLOPT_POSTFIELDS, request.body.c_str());
    library.easy_setopt(curl, CURLOPT_POSTFIELDSIZE, static_cast<long>(request.body.size()));
  } else if (request.method == "PUT" || request.method == "PATCH") {
    CHECK(request.upload != nullptr);
    if (request.method == "PATCH") library.easy_setopt(curl, CURLOPT_CUSTOMREQUEST, "PATCH");
    library.easy_setopt(curl, CURLOPT_UPLOAD, 1L);
    library.easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, 512L << 10);
    library.easy_setopt(curl, CURLOPT_INFILESIZE_LARGE,
                        static_cast<curl_off_t>(request.upload->size));
    library.easy_setopt(curl, CURLOPT_READFUNCTION, OnRead);
    library.easy_setopt(curl, CURLOPT_READDATA, exchange);
    library.easy_setopt(curl, CURLOPT_SEEKFUNCTION, OnSeek);
    library.easy_setopt(curl, CURLOPT_SEEKDATA, exchange);
  }
}

// `bundle` outlives the request. The system's certificates stay in use: they are a directory.
Result<> SetTls(const Exchange& exchange, std::string* bundle) {
  const LibCurl& library = *exchange.library;
  CURL* curl = exchange.curl;
  const HttpRequest& request = *exchange.request;
  if (!request.verify_tls) {
    library.easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
    library.easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
  }
  for (const std::string& file : request.ca_files) *bundle += TRY(ReadFile(file)) + "\n";
  if (!bundle->empty()) {
    curl_blob blob{bundle->data(), bundle->size(), CURL_BLOB_NOCOPY};
    library.easy_setopt(curl, CURLOPT_CAINFO_BLOB, &blob);
  }
  if (!request.client_certificate.empty()) {
    const std::string& key =
        request.client_key.empty() ? request.client_certificate : request.client_key;
    library.easy_setopt(curl, CURLOPT_SSLCERT, request.client_certificate.c_str());
    library.easy_setopt(curl, CURLOPT_SSLKEY, key.c_str());
  }
  return {};
}

}  // namespace

Result<HttpAnswer> HttpTransfer::Run(const HttpRequest& request, const StopToken& stop) {
  std::unique_ptr<Handle> handle = TRY(Take());
  const LibCurl& library = *handle->library;
  CURL* curl = handle->curl;
  Exchange exchange{&library, curl, &request, &stop, {}, {}};
  char detail[CURL_ERROR_SIZE] = "";
  HeaderList headers(library);
  for (const std::string& header : request.headers) headers.Add(header);
  // Registries answer at once; waiting for their leave to send costs a second where they don't.
  if (request.upload != nullptr) headers.Add("Expect:");
  library.easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  library.easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  library.easy_setopt(curl, CURLOPT_USERAGENT, request.user_agent.c_str());
  library.easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
  library.easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  library.easy_setopt(curl, CURLOPT_HEADERFUNCTION, OnHeader);
  library.easy_setopt(curl, CURLOPT_HEADERDATA, &exchange);
  library.easy_setopt(curl, CURLOPT_WRITEFUNCTION, OnBody);
  library.easy_setopt(curl, CURLOPT_WRITEDATA, &exchange);
  library.easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, OnProgress);
  library.easy_setopt(curl, CURLOPT_XFERINFODATA, &exchange);
  library.easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  library.easy_setopt(curl, CURLOPT_BUFFERSIZE, 256L << 10);
  library.easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS,
                      static_cast<long>(request.connect_timeout.count()));
  library.easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, kStallBytesPerSecond);
  library.easy_setopt(curl, CURLOPT_LOW_SPEED_TIME,
                      static_cast<long>(request.stall_timeout.count()));
  library.easy_setopt(curl, CURLOPT_TIMEOUT_MS, static_cast<long>(request.whole_timeout.count()));
  // Redirects leave the Authorization header behind when they leave the host, and never go from
  // TLS to plain text.
  bool tls = request.url.rfind("https://", 0) == 0;
  library.easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  library.easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, tls ? "https" : "http,https");
  library.easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
  library.easy_setopt(curl, CURLOPT_MAXREDIRS, 10L);
  SetMethod(&exchange);
  std::string bundle;
  auto tls_set = SetTls(exchange, &bundle);
  if (!tls_set.ok()) {
    Give(std::move(handle));
    return std::move(tls_set).error();
  }

  CURLcode code = library.easy_perform(curl);
  long status = 0;
  library.easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
  Give(std::move(handle));
  if (exchange.error) return std::move(*exchange.error);
  if (code != CURLE_OK) return ErrorOf(library, code, detail, request.url);
  exchange.answer.status = static_cast<int>(status);
  return std::move(exchange.answer);
}

std::optional<int64_t> ParseHttpDate(const std::string& text) {
  struct tm parts = {};
  const char* end = ::strptime(text.c_str(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  if (end == nullptr || *end != '\0') return std::nullopt;
  return ::timegm(&parts);
}

std::string UrlEncode(std::string_view text) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (unsigned char c : text) {
    bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                 c == '-' || c == '.' || c == '_' || c == '~';
    if (plain) {
      out.push_back(static_cast<char>(c));
    } else {
      out += {'%', kHex[c >> 4], kHex[c & 15]};
    }
  }
  return out;
}

}  // namespace gantry::registry
