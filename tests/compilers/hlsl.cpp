// Compiles HLSL with Microsoft's compilers, as wgpu does, and prints complaints; 0 if there are none, 1 if there are, 2 if the
// compiler cannot be had. DXC is for Linux and Windows, FXC for Windows (or Wine).
//
//   hlsl dxc|fxc LIBRARY PROFILE ENTRY FILE...
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#ifdef _WIN32
#include <windows.h>
#include <unknwn.h>
#include <d3dcompiler.h>
// An annotation that MinGW's headers lack.
#ifndef _Maybenull_
#define _Maybenull_
#endif
#else
#include <dlfcn.h>
#endif
#include "dxcapi.h"

namespace {

struct Job {
  std::string profile, entry, file, text;
};

// An object's complaint, empty if it has none; `ok` is the compiler's verdict.
struct Outcome {
  bool ok;
  std::string complaint;
};

template <class Function> Function function(const char* library, const char* name) {
#ifdef _WIN32
  HMODULE module = LoadLibraryA(library);
  return module ? reinterpret_cast<Function>(reinterpret_cast<void*>(GetProcAddress(module, name))) : nullptr;
#else
  void* module = dlopen(library, RTLD_NOW);
  if (!module) std::fprintf(stderr, "%s\n", dlerror());
  return module ? reinterpret_cast<Function>(dlsym(module, name)) : nullptr;
#endif
}

std::wstring wide(const std::string& text) { return {text.begin(), text.end()}; }

// Written out: not every compiler knows the headers' ids.
constexpr IID COMPILER3 = {0x228b4687, 0x5a6a, 0x4730, {0x90, 0x0c, 0x97, 0x02, 0xb2, 0x20, 0x3f, 0x54}};
constexpr IID RESULT = {0x58346cda, 0xdde7, 0x4497, {0x94, 0x61, 0x6f, 0x87, 0xaf, 0x5e, 0x06, 0x59}};
constexpr IID UTF8 = {0x3da636c9, 0xba71, 0x4024, {0xa3, 0x01, 0x30, 0xcb, 0xf1, 0x25, 0x30, 0x5b}};

class Dxc {
 public:
  explicit Dxc(const char* library) {
    auto create = function<decltype(&DxcCreateInstance)>(library, "DxcCreateInstance");
    if (create) create(CLSID_DxcCompiler, COMPILER3, reinterpret_cast<void**>(&compiler_));
  }
  bool there() const { return compiler_; }

  Outcome compile(const Job& job) {
    const std::wstring entry = wide(job.entry), profile = wide(job.profile);
    const wchar_t* arguments[] = {L"-E", entry.c_str(), L"-T", profile.c_str(), L"-HV", L"2018", L"-no-warnings"};
    const DxcBuffer source = {job.text.data(), job.text.size(), 65001};
    IDxcResult* result = nullptr;
    HRESULT called = compiler_->Compile(&source, arguments, std::size(arguments), nullptr, RESULT,
                                        reinterpret_cast<void**>(&result));
    if (called < 0 || !result) return {false, "the compiler gave no result"};
    HRESULT status = -1;
    result->GetStatus(&status);
    IDxcBlobUtf8* errors = nullptr;
    result->GetOutput(DXC_OUT_ERRORS, UTF8, reinterpret_cast<void**>(&errors), nullptr);
    Outcome outcome = {status >= 0, errors ? std::string(errors->GetStringPointer(), errors->GetStringLength()) : ""};
    if (errors) errors->Release();
    result->Release();
    return outcome;
  }

 private:
  IDxcCompiler3* compiler_ = nullptr;
};

#ifdef _WIN32
class Fxc {
 public:
  explicit Fxc(const char* library) : compile_(function<pD3DCompile>(library, "D3DCompile")) {}
  bool there() const { return compile_; }

  Outcome compile(const Job& job) {
    ID3DBlob *code = nullptr, *errors = nullptr;
    HRESULT status = compile_(job.text.data(), job.text.size(), job.file.c_str(), nullptr, nullptr, job.entry.c_str(),
                              job.profile.c_str(), D3DCOMPILE_ENABLE_STRICTNESS, 0, &code, &errors);
    Outcome outcome = {status >= 0, errors ? std::string(static_cast<char*>(errors->GetBufferPointer())) : ""};
    if (code) code->Release();
    if (errors) errors->Release();
    return outcome;
  }

 private:
  pD3DCompile compile_;
};
#endif

template <class Compiler> int run(Compiler compiler, const std::vector<Job>& jobs) {
  if (!compiler.there()) {
    std::fprintf(stderr, "the compiler cannot be loaded\n");
    return 2;
  }
  int status = 0;
  for (const Job& job : jobs) {
    const Outcome outcome = compiler.compile(job);
    if (outcome.ok) continue;
    std::printf("%s:\n%s\n", job.file.c_str(), outcome.complaint.c_str());
    status = 1;
  }
  return status;
}

}  // namespace

int main(int count, char** words) {
  if (count < 6) {
    std::fprintf(stderr, "hlsl dxc|fxc LIBRARY PROFILE ENTRY FILE...\n");
    return 2;
  }
  std::vector<Job> jobs;
  for (int at = 5; at < count; ++at) {
    std::ifstream file(words[at], std::ios::binary);
    if (!file) {
      std::fprintf(stderr, "%s cannot be read\n", words[at]);
      return 2;
    }
    jobs.push_back({words[3], words[4], words[at], {std::istreambuf_iterator<char>(file), {}}});
  }
  const std::string kind = words[1];
  if (kind == "dxc") return run(Dxc(words[2]), jobs);
#ifdef _WIN32
  if (kind == "fxc") return run(Fxc(words[2]), jobs);
#endif
  std::fprintf(stderr, "no compiler `%s` here\n", words[1]);
  return 2;
}
