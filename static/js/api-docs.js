// The page of the REST API: Swagger UI over our own OpenAPI document.
"use strict";

const page = document.getElementById("api-docs");

SwaggerUIBundle({
  domNode: page,
  url: page.dataset.schema,
  deepLinking: true,
  docExpansion: "list",
  defaultModelsExpandDepth: 0,
  // The validator badge would be fetched from another origin.
  validatorUrl: null,
  requestInterceptor(request) {
    // With the console's session, anything but reading needs the CSRF token.
    if (new URL(request.url, location.href).origin === location.origin) {
      request.headers["X-CSRFToken"] = page.dataset.csrf;
    }
    return request;
  },
});
