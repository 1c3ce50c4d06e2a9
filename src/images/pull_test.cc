// SPDX-License-Identifier: Apache-2.0
//
// Pulls from Debian's docker-registry, filled by skopeo, and from a registry that misbehaves; both
// on loopback.
#include "images/pull.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <map>

#include "base/io.h"
#include "formats/compression/compression.h"
#include "formats/tar.h"
#include "images/memory_image_records.h"

namespace gantry::images {
namespace {

namespace fs = std::filesystem;
using formats::Digest;
using testing::HasSubstr;

bool Installed(const std::string& program) {
  return ::system(("command -v " + program + " >/dev/null 2>&1").c_str()) == 0;
}

// A port that was free a moment ago.
int FreePort() {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(fd.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(fd.get(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  return ntohs(address.sin_port);
}

bool Answers(int port) {
  UniqueFd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address = {.sin_family = AF_INET,
                         .sin_port = htons(static_cast<uint16_t>(port)),
                         .sin_addr = {htonl(INADDR_LOOPBACK)}};
  return ::connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
}

// A registry with tokens, whose blobs break off and whose answers may lie, as its arguments say.
constexpr char kFakeRegistry[] = R"(
import http.server, json, sys, hashlib, urllib.parse
port, folder = int(sys.argv[1]), sys.argv[2]
broken = set()
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *a): pass
    def answer(self, status, body=b'', **headers):
        self.send_response(status)
        for k, v in headers.items(): self.send_header(k.replace('_', '-'), v)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        if self.command != 'HEAD': self.wfile.write(body)
    def do_HEAD(self): self.do_GET()
    def do_GET(self):
        url = urllib.parse.urlparse(self.path)
        if url.path == '/token':
            query = urllib.parse.parse_qs(url.query)
            return self.answer(200, json.dumps({'token': 'T-' + query['scope'][0]}).encode())
        name = url.path[4:].split('/')[0]
        if self.headers.get('Authorization') != f'Bearer T-repository:{name}:pull':
            return self.answer(401, b'{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}',
                WWW_Authenticate=f'Bearer realm="http://127.0.0.1:{port}/token",service="fake"')
        last = url.path.rsplit('/', 1)[1]
        try: body = open(f'{folder}/{last}', 'rb').read()
        except OSError: return self.answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}')
        if '/manifests/' in url.path:
            digest = 'sha256:' + hashlib.sha256(body).hexdigest()
            if name == 'liar': body = body + b' '
            return self.answer(200, body, Docker_Content_Digest=digest,
                Content_Type='application/vnd.oci.image.manifest.v1+json')
        if name == 'damaged': body = b'X' + body[1:]
        if name == 'long': body = body + b'more'
        start = 0
        if name != 'norange' and self.headers.get('Range'):
            start = int(self.headers['Range'][6:-1])
        self.send_response(206 if start else 200)
        self.send_header('Content-Length', str(len(body) - start))
        self.end_headers()
        end = len(body)
        if name in ('breaks', 'norange') and last not in broken:
            broken.add(last)
            end = start + (end - start) // 2
            self.close_connection = True
        self.wfile.write(body[start:end])
class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
Server(('127.0.0.1', port), Handler).serve_forever()
)";

class PullTest : public testing::Test {
 protected:
  void SetUp() override {
    char path[] = "/tmp/gantry-pull-XXXXXX";
    top_ = ::mkdtemp(path);
    port_ = FreePort();
    host_ = fmt::format("127.0.0.1:{}", port_);
    Reset();
    client_ = std::move(*registry::Client::Create({}));
  }
  void TearDown() override {
    if (server_ > 0) {
      ::kill(server_, SIGKILL);
      ::waitpid(server_, nullptr, 0);
    }
    fs::remove_all(top_);
  }
  // An empty store.
  void Reset() {
    fs::remove_all(top_ + "/content");
    blobs_ = std::move(*content::BlobStore::Open(top_ + "/content"));
    library_ = {.blobs = blobs_.get(), .records = &records_, .ns = "ns"};
    library_.progress = [this](const Progress& step) {
      MutexLock lock(mutex_);
      ++events_[step.event];
    };
  }
  void Start(const std::vector<std::string>& arguments) {
    std::vector<char*> argv;
    for (const std::string& argument : arguments)
      argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    ::posix_spawn_file_actions_init(&actions);
    std::string log = top_ + "/server.log";
    ::posix_spawn_file_actions_addopen(&actions, 1, log.c_str(), O_WRONLY | O_CREAT, 0600);
    ::posix_spawn_file_actions_adddup2(&actions, 1, 2);
    ASSERT_EQ(::posix_spawnp(&server_, argv[0], &actions, nullptr, argv.data(), environ), 0);
    ::posix_spawn_file_actions_destroy(&actions);
    for (int i = 0; i < 500 && !Answers(port_); ++i) ::usleep(10000);
    ASSERT_TRUE(Answers(port_)) << *ReadFile(log);
  }
  void StartRegistry(const std::string& more = "") {
    std::string config = fmt::format(
        "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}/registry\n"
        "http:\n  addr: {}\n{}",
        top_, host_, more);
    ASSERT_TRUE(CreateFile(top_ + "/config.yml", config, 0600).ok());
    Start({"docker-registry", "serve", top_ + "/config.yml"});
  }
  // A layout with two layers for the fake; the reference is NAME:tag.
  void StartFake() {
    fs::create_directories(top_ + "/fake");
    auto put = [&](const std::string& data) {
      Digest digest = Digest::Of(data);
      EXPECT_TRUE(CreateFile(top_ + "/fake/" + digest.text(), data, 0600).ok());
      return oci::Descriptor{.digest = digest, .size = static_cast<int64_t>(data.size())};
    };
    oci::Manifest manifest{.media_type = std::string(oci::kOciManifest)};
    manifest.config = put("{}");
    for (char c : {'a', 'b'}) manifest.layers.push_back(put(std::string(300000, c)));
    std::string text = oci::ToJson(manifest).Dump();
    put(text);
    ASSERT_TRUE(CreateFile(top_ + "/fake/tag", text, 0600).ok());
    Start({"python3", "-c", kFakeRegistry, std::to_string(port_), top_ + "/fake"});
  }
  Result<ImageRecord> PullIt(const std::string& path) {
    std::string reference = host_ + "/" + path;
    return Pull(library_, *client_, reference, reference, {.platforms = {oci::HostPlatform()}});
  }
  int Events(const std::string& event) {
    MutexLock lock(mutex_);
    return events_[event];
  }
  void Run(const std::string& command) {
    ASSERT_EQ(::system((command + " >" + top_ + "/log 2>&1").c_str()), 0)
        << command << "\n"
        << *ReadFile(top_ + "/log");
  }

  std::string top_;
  int port_ = 0;
  std::string host_;
  pid_t server_ = -1;
  std::unique_ptr<content::BlobStore> blobs_;
  Library library_;
  MemoryImageRecords records_{&library_.blobs};
  std::unique_ptr<registry::Client> client_;
  Mutex mutex_;
  std::map<std::string, int> events_;
};

TEST_F(PullTest, FromDockerRegistry) {
  if (!Installed("docker-registry") || !Installed("skopeo") || !Installed("umoci")) {
    GTEST_SKIP() << "no docker-registry, skopeo or umoci";
  }
  StartRegistry();
  Run(
      fmt::format("cd {0} && umoci init --layout l && umoci new --image l:t && mkdir in && head -c "
                  "2000000 /dev/urandom > in/f && umoci insert --image l:t in /in && "
                  "umoci insert --image l:t in/f /again",
                  top_));
  for (const char* format : {"oci", "v2s2"}) {
    for (const char* compression : {"gzip", "zstd"}) {
      bool oci = std::string_view(format) == "oci";
      if (!oci && std::string_view(compression) == "zstd") continue;
      std::string name = fmt::format("a/{}-{}:v1", format, compression);
      Run(
          fmt::format("skopeo --insecure-policy copy -f {} --dest-tls-verify=false "
                      "--dest-compress-format {} oci:{}/l:t docker://{}/{}",
                      format, compression, top_, host_, name));
      auto image = PullIt(name);
      ASSERT_TRUE(image.ok()) << image.error().message();
      EXPECT_EQ(image->target.media_type, oci ? oci::kOciManifest : oci::kDockerManifest);
      auto resolved = client_->Resolve(host_, name.substr(0, name.find(':')), "v1", {});
      ASSERT_TRUE(resolved.ok());
      EXPECT_EQ(resolved->digest, image->target.digest);
      EXPECT_EQ(resolved->size, image->target.size);
      auto by_digest = PullIt(name + "@" + image->target.digest.text());
      EXPECT_TRUE(by_digest.ok()) << by_digest.error().message();
      auto manifest = ResolveManifest(*blobs_, image->target, oci::HostPlatform());
      ASSERT_TRUE(manifest.ok());
      for (const auto& layer : manifest->manifest.layers) {
        auto info = blobs_->Stat(layer.digest);
        ASSERT_TRUE(info.ok());
        EXPECT_EQ(info->size, static_cast<uint64_t>(layer.size));
        auto record = records_.FindBlob(layer.digest);
        EXPECT_EQ((*record)->labels.count("containerd.io/distribution.source." + host_), 1u);
      }
    }
  }
  EXPECT_GT(Events("already exists"), 0);
  auto missing = PullIt("a/oci-gzip:v2");
  EXPECT_EQ(missing.error().kind(), ErrorKind::kNotFound);
  EXPECT_THAT(missing.error().message(), HasSubstr("manifest unknown"));
  EXPECT_THAT(missing.error().message(), HasSubstr("pulling '127.0.0.1:"));
  EXPECT_EQ(PullIt("nobody/nothing").error().kind(), ErrorKind::kNotFound);
}

TEST_F(PullTest, WithBasicCredentials) {
  if (!Installed("docker-registry")) GTEST_SKIP() << "no docker-registry";
  // crypt("pass word") with bcrypt.
  ASSERT_TRUE(CreateFile(top_ + "/htpasswd",
                         "user:$2y$05$abcdefghijklmnopqrstuuIt/9/tGzLcigNq/.RWIDjeEVR30RSf.\n",
                         0600)
                  .ok());
  StartRegistry(fmt::format("auth:\n  htpasswd:\n    realm: r\n    path: {}/htpasswd\n", top_));
  EXPECT_EQ(PullIt("a/b").error().kind(), ErrorKind::kUnauthenticated);
  EXPECT_EQ(client_->CheckCredentials(host_, {"user", "wrong"}, {}).error().kind(),
            ErrorKind::kUnauthenticated);
  EXPECT_TRUE(client_->CheckCredentials(host_, {"user", "pass word"}, {}).ok());
  registry::ClientOptions options;
  options.credentials = [&](const std::string& host) -> Result<registry::Credentials> {
    EXPECT_EQ(host, host_);
    return registry::Credentials{"user", "pass word"};
  };
  client_ = std::move(*registry::Client::Create(options));
  EXPECT_EQ(PullIt("a/b").error().kind(), ErrorKind::kNotFound);
}

TEST_F(PullTest, WithTokensAndBrokenConnections) {
  StartFake();
  for (const char* name : {"good:tag", "breaks:tag", "norange:tag"}) {
    Reset();
    auto image = PullIt(name);
    ASSERT_TRUE(image.ok()) << name << ": " << image.error().message();
    EXPECT_TRUE(blobs_->Ingests("")->empty());
  }
}

TEST_F(PullTest, ResumesWhatAnEarlierPullLeft) {
  StartFake();
  std::string layer(300000, 'a');
  {
    auto writer = blobs_->OpenWriter({.ns = "ns", .ref = "layer-" + Digest::Of(layer).text()});
    ASSERT_TRUE((*writer)->Write(layer.substr(0, 200000)).ok());
  }
  ASSERT_TRUE(PullIt("good:tag").ok());
  // What was left may be wrong.
  Reset();
  {
    auto writer = blobs_->OpenWriter({.ns = "ns", .ref = "layer-" + Digest::Of(layer).text()});
    ASSERT_TRUE((*writer)->Write("nonsense").ok());
  }
  auto image = PullIt("good:tag");
  ASSERT_TRUE(image.ok()) << image.error().message();
}

TEST_F(PullTest, RefusesLies) {
  StartFake();
  for (const auto& [name, message] : std::map<std::string, std::string>{
           {"liar:tag", "announced"},
           {"damaged:tag", "unexpected commit digest"},
           {"long:tag", "more than the"},
           {"good:missing", "manifest unknown"},
       }) {
    Reset();
    auto image = PullIt(name);
    ASSERT_FALSE(image.ok()) << name;
    EXPECT_THAT(image.error().message(), HasSubstr(message));
  }
  EXPECT_TRUE(records_.images().empty());
}

TEST_F(PullTest, StopsAndFailsClearly) {
  EXPECT_EQ(PullIt("a").error().kind(), ErrorKind::kUnavailable) << "nobody listens";
  StartFake();
  auto stop = StopSource::Create();
  library_.stop = stop->token();
  stop->RequestStop();
  EXPECT_EQ(PullIt("good:tag").error().kind(), ErrorKind::kCancelled);
}

}  // namespace
}  // namespace gantry::images
