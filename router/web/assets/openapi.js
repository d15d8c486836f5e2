// The page that tries the REST API: Swagger UI on the router's own document.

/* global SwaggerUIBundle */

SwaggerUIBundle({
  url: "/openapi.json",
  dom_id: "#api",
  deepLinking: true,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: -1,
  validatorUrl: null, // it would ask another site
  syntaxHighlight: false, // answers may be megabytes of numbers
});
