// SPDX-License-Identifier: Apache-2.0
//
// The floor under a pull: layers from a registry without TLS, each kept as a blob and extracted,
// and nothing else: no manifests, no records, no checks of what a layer could do, nothing synced.
// Two threads a layer: one downloads, hashes and keeps the blob, one inflates (ISA-L), hashes and
// writes files. Prints the digests of blob and tar of each layer. Not installed.
//
//   pipeline PORT FOLDER LAYERS_AT_ONCE PATH…      # paths of 127.0.0.1:PORT, the largest first
#include <fcntl.h>
#include <isa-l/igzip_lib.h>
#include <netinet/in.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace {

constexpr size_t kChunk = size_t{256} << 10;
constexpr size_t kTarBlock = 512;

[[noreturn]] void Fail(const char* what) {
  perror(what);
  exit(1);
}

class Hash {
 public:
  Hash() { EVP_DigestInit_ex(context_, EVP_sha256(), nullptr); }
  ~Hash() { EVP_MD_CTX_free(context_); }
  void Add(const void* data, size_t size) { EVP_DigestUpdate(context_, data, size); }
  std::string Hex() {
    unsigned char bytes[32];
    EVP_DigestFinal_ex(context_, bytes, nullptr);
    std::string text;
    for (unsigned char byte : bytes) {
      char two[3];
      snprintf(two, sizeof two, "%02x", byte);
      text += two;
    }
    return text;
  }

 private:
  EVP_MD_CTX* context_ = EVP_MD_CTX_new();
};

// How much of a blob's file is there.
class Progress {
 public:
  void Set(size_t there, bool whole) {
    std::lock_guard lock(mutex_);
    there_ = there;
    whole_ = whole;
    changed_.notify_all();
  }
  // Bytes beyond `offset`; 0 at the end.
  size_t Await(size_t offset) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return whole_ || there_ > offset; });
    return there_ - offset;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  size_t there_ = 0;
  bool whole_ = false;
};

void WriteAll(int fd, const char* data, size_t size) {
  while (size > 0) {
    ssize_t count = write(fd, data, size);
    if (count <= 0) Fail("write");
    data += count;
    size -= static_cast<size_t>(count);
  }
}

// A GET; the socket, the head's Content-Length, and what came of the body with the head.
int Get(int port, const std::string& path, size_t* length, std::string* begin) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) Fail("connect");
  std::string request = "GET " + path + " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
  WriteAll(fd, request.data(), request.size());
  std::string head;
  size_t end = std::string::npos;
  while ((end = head.find("\r\n\r\n")) == std::string::npos) {
    char buffer[4096];
    ssize_t count = recv(fd, buffer, sizeof buffer, 0);
    if (count <= 0) Fail("recv");
    head.append(buffer, static_cast<size_t>(count));
  }
  const char* field = strcasestr(head.c_str(), "content-length:");
  if (head.compare(9, 3, "200") != 0 || field == nullptr) {
    fprintf(stderr, "%s: %s\n", path.c_str(), head.c_str());
    exit(1);
  }
  *length = strtoull(field + 15, nullptr, 10);
  *begin = head.substr(end + 4);
  return fd;
}

std::string Download(int port, const std::string& path, int blob, Progress* progress) {
  size_t length = 0;
  std::string begin;
  int fd = Get(port, path, &length, &begin);
  Hash hash;
  hash.Add(begin.data(), begin.size());
  WriteAll(blob, begin.data(), begin.size());
  size_t there = begin.size();
  std::vector<char> buffer(kChunk);
  while (there < length) {
    ssize_t count = recv(fd, buffer.data(), buffer.size(), 0);
    if (count <= 0) Fail("recv");
    auto size = static_cast<size_t>(count);
    hash.Add(buffer.data(), size);
    WriteAll(blob, buffer.data(), size);
    there += size;
    progress->Set(there, there == length);
  }
  close(fd);
  return hash.Hex();
}

// Writes the regular files and directories of a ustar archive that comes in pieces.
class Untar {
 public:
  explicit Untar(std::string folder) : folder_(std::move(folder)) {}
  void Add(const char* data, size_t size) {
    while (size > 0) {
      size_t take = 0;
      if (left_ > 0) {
        take = std::min(left_, size);
        WriteAll(file_, data, take);
        left_ -= take;
        if (left_ == 0) EndFile();
      } else if (padding_ > 0) {
        take = std::min(padding_, size);
        padding_ -= take;
      } else {
        take = std::min(kTarBlock - have_, size);
        memcpy(block_ + have_, data, take);
        have_ += take;
        if (have_ == kTarBlock) Begin();
      }
      data += take;
      size -= take;
    }
  }

 private:
  size_t Octal(size_t offset) const { return strtoull(block_ + offset, nullptr, 8); }
  void Begin() {
    have_ = 0;
    if (block_[0] == '\0') return;
    std::string name(block_, strnlen(block_, 100));
    size_t slash = name.rfind('/');
    if (slash != std::string::npos && name.compare(0, slash, directory_) != 0) {
      directory_ = name.substr(0, slash);
      for (size_t at = 0; at != std::string::npos;) {
        at = directory_.find('/', at + 1);
        mkdir((folder_ + "/" + directory_.substr(0, at)).c_str(), 0755);
      }
    }
    if (block_[156] != '0' && block_[156] != '\0') return;
    left_ = Octal(124);
    padding_ = (kTarBlock - left_ % kTarBlock) % kTarBlock;
    file_ = open((folder_ + "/" + name).c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file_ < 0) Fail(name.c_str());
    if (left_ == 0) EndFile();
  }
  void EndFile() {
    auto uid = static_cast<uid_t>(Octal(108));
    auto time = static_cast<time_t>(Octal(136));
    timespec times[2] = {{time, 0}, {time, 0}};
    if (fchown(file_, uid, static_cast<gid_t>(Octal(116))) != 0 ||
        fchmod(file_, static_cast<mode_t>(Octal(100))) != 0 || futimens(file_, times) != 0) {
      Fail("attributes");
    }
    close(file_);
  }

  const std::string folder_;
  std::string directory_;
  char block_[kTarBlock];
  size_t have_ = 0;
  size_t left_ = 0;
  size_t padding_ = 0;
  int file_ = -1;
};

std::string Extract(int blob, const std::string& folder, Progress* progress) {
  std::vector<char> in(kChunk);
  std::vector<char> out(kChunk);
  inflate_state state;
  isal_inflate_init(&state);
  state.crc_flag = ISAL_GZIP;
  Hash hash;
  Untar untar(folder);
  size_t offset = 0;
  while (size_t there = progress->Await(offset)) {
    ssize_t count = pread(blob, in.data(), std::min(there, in.size()), static_cast<off_t>(offset));
    if (count <= 0) Fail("pread");
    offset += static_cast<size_t>(count);
    state.next_in = reinterpret_cast<uint8_t*>(in.data());
    state.avail_in = static_cast<uint32_t>(count);
    do {
      state.next_out = reinterpret_cast<uint8_t*>(out.data());
      state.avail_out = kChunk;
      if (isal_inflate(&state) != ISAL_DECOMP_OK) Fail("inflate");
      size_t size = kChunk - state.avail_out;
      hash.Add(out.data(), size);
      untar.Add(out.data(), size);
    } while (state.avail_out == 0 || state.avail_in > 0);
  }
  return hash.Hex();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: pipeline PORT FOLDER LAYERS_AT_ONCE PATH…\n");
    return 2;
  }
  const int port = atoi(argv[1]);
  const std::string folder = argv[2];
  const int at_once = atoi(argv[3]);
  std::vector<std::string> lines(static_cast<size_t>(argc) - 4);
  std::atomic<size_t> next{0};
  auto work = [&] {
    for (size_t i = next++; i < lines.size(); i = next++) {
      std::string name = folder + "/" + std::to_string(i);
      int blob = open((name + ".blob").c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
      if (blob < 0 || mkdir(name.c_str(), 0755) != 0) Fail(name.c_str());
      Progress progress;
      std::string tar;
      std::thread extraction([&] { tar = Extract(blob, name, &progress); });
      lines[i] = Download(port, argv[i + 4], blob, &progress);
      extraction.join();
      lines[i] += " " + tar;
      close(blob);
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < at_once; ++i) threads.emplace_back(work);
  for (std::thread& thread : threads) thread.join();
  for (const std::string& line : lines) puts(line.c_str());
  return 0;
}
